package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/fjmcp/fjmcp-broker/internal/daemon/audit"
	"github.com/fjmcp/fjmcp-broker/internal/operator/admin"
	"github.com/fjmcp/fjmcp-broker/internal/operator/journal"
)

// linesFollowed is how many events --follow shows of those there are, as journalctl does.
const linesFollowed = 10

// auditOptions say what to read of the audit.
type auditOptions struct {
	filter       journal.Filter
	user         string
	kinds        []string
	since, until string
	times        journal.Range // the same, read

	follow, reverse bool
	lines           int // -1: all
	directory, file string
}

func (a *app) audit() *cobra.Command {
	o := &auditOptions{lines: -1}
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Read the audit: who logged in, which tool was called on what",
		Long: `Read the audit: who logged in, which session ran, which tool was called on what,
the oldest event first. The broker need not run.

Only what the broker itself wrote to the journal is shown: any local program may write
entries that look like it. A line says where events are missing. It needs root or
membership of the group systemd-journal.

A user's events are found by the number at the forge of whoever had the name last, so
that those under a former name are among them, and those of somebody else who had
the name before are not; it says so if there are such.`,
		Example: `  fjmcpctl audit --user alice --since today
  fjmcpctl audit --event login --event login_failed --since -7d
  fjmcpctl audit --repo alice/site --json | jq -r .user | sort | uniq -c
  fjmcpctl audit --follow`,
		Args:              cobra.MatchAll(cobra.NoArgs, func(*cobra.Command, []string) error { return o.check(time.Now()) }),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd, a.json)
		},
	}
	o.flags(cmd)
	complete := map[string]cobra.CompletionFunc{"user": a.completeUsers(), "session": a.completeSessions(), "client": a.completeClients(), "event": completeEvents}
	for flag, values := range complete {
		_ = cmd.RegisterFlagCompletionFunc(flag, values)
	}
	_ = cmd.MarkFlagFilename("file")
	_ = cmd.MarkFlagDirname("directory")
	return a.printing(cmd, ", one object a line")
}

func (o *auditOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.user, "user", "", "only events of the user with that login name, or with that number at the forge: id:7")
	f.StringVar(&o.filter.Client, "client", "", "only those of the client with that name or ID")
	f.StringVar(&o.filter.Session, "session", "", "only those of the session with that ID")
	f.StringArrayVar(&o.kinds, "event", nil, "only those of that kind, such as tool_call; can be given more than once")
	f.StringVar(&o.filter.Tool, "tool", "", "only calls of that tool")
	f.StringVar(&o.filter.Rule, "rule", "", "only what that rule of the policy refused")
	f.StringVar(&o.filter.Repo, "repo", "", "only calls that named, touched or may have touched that repository, owner/name")
	f.StringVar(&o.filter.Outcome, "outcome", "", "only those that ended so, such as ok or error")
	f.BoolVar(&o.filter.Failed, "failed", false, "only what failed")
	f.StringVar(&o.since, "since", "", `only what happened at that time or later, such as "2026-11-30 08:00", today or -7d`)
	f.StringVar(&o.until, "until", "", "only what happened at that time or earlier")
	f.BoolVarP(&o.follow, "follow", "f", false, fmt.Sprintf("show the latest, %d without --lines, and go on with what comes", linesFollowed))
	f.IntVarP(&o.lines, "lines", "n", -1, "only that many, the latest")
	f.Lookup("lines").DefValue = "0" // is not shown, as -1 says nothing
	f.BoolVarP(&o.reverse, "reverse", "r", false, "the newest first")
	f.StringVarP(&o.directory, "directory", "D", "", "read the journal files in that directory, as of another machine")
	f.StringVar(&o.file, "file", "", "read lines that a broker without a journal wrote on standard error; - is standard input")
}

func completeEvents(*cobra.Command, []string, string) (all []cobra.Completion, _ cobra.ShellCompDirective) {
	for _, kind := range audit.Kinds() {
		all = append(all, string(kind))
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

// check reads what the options say.
func (o *auditOptions) check(now time.Time) (err error) {
	o.filter.User = o.user
	if id, ok := strings.CutPrefix(o.user, admin.IDPrefix); ok {
		o.filter.User, o.filter.UserID = "", id
	}
	o.filter.Kinds = nil
	for _, kind := range o.kinds {
		if !slices.Contains(audit.Kinds(), audit.Kind(kind)) {
			return fmt.Errorf("there is no event %q: fjmcpctl completes the names after --event, and docs/audit.md lists them", kind)
		}
		o.filter.Kinds = append(o.filter.Kinds, audit.Kind(kind))
	}
	for _, t := range []struct {
		text string
		to   *time.Time
	}{{o.since, &o.times.Since}, {o.until, &o.times.Until}} {
		if t.text == "" {
			continue
		}
		if *t.to, err = journal.ParseTime(t.text, now); err != nil {
			return err
		}
	}
	switch {
	case o.lines < -1:
		return errors.New("--lines cannot be negative")
	case !o.times.Until.IsZero() && o.times.Until.Before(o.times.Since):
		return errors.New("--until is before --since")
	case o.follow && (o.reverse || o.until != "" || o.file != ""):
		return errors.New("--follow goes on with what comes: leave --reverse, --until and --file out")
	case o.file != "" && o.directory != "":
		return errors.New("--file reads lines, --directory journal files: give one of them")
	}
	return nil
}

// events is what can be read: a journal, or lines.
type events interface {
	Events(context.Context, journal.Range) iter.Seq2[journal.Event, error]
	Begins(context.Context) (time.Time, error)
	Doubts() []string
}

func (o *auditOptions) open(cmd *cobra.Command) (events, error) {
	if o.file == "" {
		j, err := journal.Open(cmd.Context(), o.directory)
		if errors.Is(err, journal.ErrNone) {
			err = fmt.Errorf("%w\nhint: without systemd the events are lines on the broker's standard error; "+
				"fjmcpctl audit --file - reads them, as from podman logs", err)
		}
		return j, err
	}
	in := cmd.InOrStdin()
	if o.file != "-" {
		f, err := os.Open(o.file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	return journal.ReadLines(in)
}

func (o *auditOptions) run(cmd *cobra.Command, asJSON bool) error {
	all, err := o.open(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := cmd.Context(), context.CancelFunc(func() {})
	if o.follow {
		ctx, cancel = signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
		go func() { hangup(int32(os.Stdout.Fd())); cancel() }()
	}
	defer cancel()
	if o.filter.User != "" {
		if o.filter.UserID, err = journal.Bearer(all.Events(ctx, journal.Range{Reverse: true}), o.filter.User); err != nil {
			return err
		}
	}
	p := newAuditPrinter(cmd.OutOrStdout(), cmd.ErrOrStderr())
	p.json, p.live = asJSON, o.follow
	r := &auditReader{auditOptions: o, all: all, show: p.print, began: time.Now()}
	if err = r.read(ctx); err == nil {
		p.end(r)
	}
	return errors.Join(err, p.out.Flush())
}

// hangup waits until nobody reads any more what is written to a pipe or a terminal. What
// follows may have nothing to write for hours.
func hangup(fd int32) {
	for {
		if n, err := unix.Poll([]unix.PollFd{{Fd: fd}}, -1); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}
