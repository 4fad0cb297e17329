package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fjmcp/fjmcp-broker/internal/operator/journal"
)

// auditItem is an event, or what is to be said between two.
type auditItem struct {
	event journal.Event
	note  string
}

// auditReader reads what its options ask for, and shows it in order.
type auditReader struct {
	*auditOptions
	all   events
	show  func(auditItem)
	began time.Time

	newest  *journal.Event // that was read, shown or not
	shown   int
	others  map[string]int // events of others of the user's name, by id
	unknown int            // events that touched more repositories than they name
}

func (o *auditReader) read(ctx context.Context) error {
	o.others = map[string]int{}
	most := o.lines
	if o.follow && most < 0 && o.since == "" {
		most = linesFollowed
	}
	var err error
	if most < 0 {
		err = o.stream(ctx, o.reverse)
	} else {
		err = o.latest(ctx, most)
	}
	if err != nil || !o.follow {
		return err
	}
	r := journal.Range{Since: o.times.Since, Follow: true, After: o.newest}
	if o.newest == nil {
		r.Since = o.began // nothing is there from before
	}
	return o.pass(ctx, r, func(i auditItem) bool { o.show(i); return true })
}

// stream shows all there is, in one direction.
func (o *auditReader) stream(ctx context.Context, reverse bool) error {
	begin, err := o.beginning(ctx)
	if err != nil {
		return err
	}
	if begin != "" && !reverse {
		o.show(auditItem{note: begin})
	}
	r := o.times
	r.Reverse = reverse
	err = o.pass(ctx, r, func(i auditItem) bool { o.show(i); return true })
	if err == nil && begin != "" && reverse {
		o.show(auditItem{note: begin})
	}
	return err
}

// latest shows the last ones, which are read from behind.
func (o *auditReader) latest(ctx context.Context, most int) error {
	r := o.times
	r.Reverse = true
	if most == 0 { // all that is wanted is where they end
		for e, err := range o.all.Events(ctx, r) {
			o.newest = &e
			return err
		}
		return nil
	}
	var items []auditItem
	count := 0
	err := o.pass(ctx, r, func(i auditItem) bool {
		if i.note == "" {
			count++
		}
		items = append(items, i)
		return count < most
	})
	if !o.reverse {
		slices.Reverse(items)
	}
	for _, i := range items {
		o.show(i)
	}
	return err
}

// pass hands on what the filter lets through, and what is missing, until it is enough.
func (o *auditReader) pass(ctx context.Context, r journal.Range, hand func(auditItem) bool) error {
	r.Missing = func(n int64, from, to time.Time) { hand(auditItem{note: missing(n, from, to)}) }
	for e, err := range o.all.Events(ctx, r) {
		if err != nil {
			return err
		}
		if o.newest == nil || !r.Reverse {
			o.newest = &e
		}
		if !o.filter.Match(e) {
			o.passOver(e)
			continue
		}
		o.shown++
		if !hand(auditItem{event: e}) {
			return nil
		}
	}
	return nil
}

// passOver counts what is not shown, although somebody may take it for what was asked for.
func (o *auditReader) passOver(e journal.Event) {
	without := o.filter
	switch {
	case o.filter.UserID != "" && o.filter.User != "" && strings.EqualFold(e.User, o.filter.User):
		if without.User, without.UserID = "", ""; without.Match(e) {
			o.others[e.UserID]++
		}
	case o.filter.Repo != "" && e.MoreRepos():
		if without.Repo = ""; without.Match(e) {
			o.unknown++
		}
	}
}

// beginning says from when on the journal goes back, where more was asked for.
func (o *auditReader) beginning(ctx context.Context) (string, error) {
	begins, err := o.all.Begins(ctx)
	if err != nil || begins.IsZero() || begins.Before(o.times.Since) {
		return "", err
	}
	return "the journal goes back to " + clock(begins), nil
}

func missing(n int64, from, to time.Time) string {
	what := count(int(n), "event")
	is := map[bool]string{true: "is", false: "are"}[n == 1]
	if from.IsZero() {
		return fmt.Sprintf("%s from before %s %s missing", what, clock(to), is)
	}
	return fmt.Sprintf("%s %s missing between %s and %s", what, is, clock(from), clock(to))
}
