package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fjmcp/fjmcp-broker/internal/proto/forgeapi"
)

const (
	lowerCase = "abcdefghijklmnopqrstuvwxyz0123456789"
	nameChars = lowerCase + "ABCDEFGHIJKLMNOPQRSTUVWXYZ_.-"
)

// isMadeOf reports whether s has 1 to most bytes, all of chars.
func isMadeOf(s, chars string, most int) bool {
	return s != "" && len(s) <= most && strings.Trim(s, chars) == ""
}

func isRule(s string) bool { return isMadeOf(s, lowerCase+"-", 64) }

// dots are no names: a path with them leads elsewhere.
func isDots(s string) bool { return s == "." || s == ".." }

func isAccount(s string) bool { return isMadeOf(s, nameChars, 100) && !isDots(s) }

func parseUser(s string) (Name, error) {
	text, id, err := cutID(s)
	if err == nil && !isAccount(text) {
		err = fmt.Errorf("%.100q is no login name of the forge: want letters, digits, _ . and -, and after it perhaps # and the id", s)
	}
	return Name{strings.ToLower(text), id}, err
}

func parseOrganization(s string) (Name, error) {
	text, id, err := cutID(s)
	if err == nil && !isAccount(text) {
		err = fmt.Errorf("%.100q is no organization's name: want letters, digits, _ . and -, and after it perhaps # and the id", s)
	}
	return Name{strings.ToLower(text), id}, err
}

func parseTeam(s string) (Name, error) {
	text, id, err := cutID(s)
	org, team, _ := strings.Cut(text, "/")
	if err == nil && (!isAccount(org) || !isMadeOf(team, nameChars, 255) || isDots(team)) {
		err = fmt.Errorf("%.100q is no team: want organization/team, and after it perhaps # and the id", s)
	}
	return Name{strings.ToLower(text), id}, err
}

// cutID takes the pinned id from the end.
func cutID(s string) (string, int64, error) {
	text, number, pinned := strings.Cut(s, "#")
	if !pinned {
		return text, 0, nil
	}
	id, err := strconv.ParseInt(number, 10, 64)
	if err != nil || id < 1 || number[0] == '+' || number[0] == '0' {
		return "", 0, fmt.Errorf("%.100q pins no id: want the forge's number after #, from 1", s)
	}
	return text, id, nil
}

func parseRepository(s string) (string, error) {
	owner, name, _ := strings.Cut(s, "/")
	switch {
	case !isAccount(owner) || !isMadeOf(name, nameChars+"*", 100) || isDots(name):
		return "", fmt.Errorf("%.100q is no repository: want owner/name, where * in the name stands for any characters; leave out repositories and owners for all", s)
	case strings.HasSuffix(strings.ToLower(name), ".git"):
		return "", fmt.Errorf("%.100q: write the repository's name without .git", s)
	case strings.Contains(name, "**"):
		return "", fmt.Errorf("%.100q: write one * for any characters", s)
	}
	return strings.ToLower(s), nil
}

func parseOwner(s string) (string, error) {
	if !isAccount(s) {
		return "", fmt.Errorf("%.100q is no owner: want the name of a user or of an organization", s)
	}
	return strings.ToLower(s), nil
}

func parseToolset(s string) (string, error) {
	sets := forgeapi.Toolsets()
	if !slices.Contains(sets, s) {
		return "", fmt.Errorf("there is no toolset %.100q%s", s, nearest(s, sets))
	}
	return s, nil
}

func parseTool(s string) (string, error) {
	if _, ok := forgeapi.ToolNamed(s); ok {
		return s, nil
	}
	var names []string
	for _, t := range forgeapi.AllTools() {
		names = append(names, t.Name)
	}
	return "", fmt.Errorf("there is no tool or resource template %.100q%s", s, nearest(s, names))
}

// nearest asks whether one of names was meant, or says which there are if they are few.
func nearest(s string, names []string) string {
	s = s[:min(len(s), 100)]
	best, distance := "", 1+max(2, len(s)/3)
	for _, name := range names {
		if d := edits(strings.ToLower(s), name); d < distance {
			best, distance = name, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf(": is %.100q meant?", best)
	case len(names) <= 20:
		return ": want " + strings.Join(names, ", ")
	}
	return ""
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
