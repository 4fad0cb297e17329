package setup

import (
	"regexp"
	"strings"
)

// assignment is one NAME=value of an environment file, from byte start to byte end.
type assignment struct {
	name, value string
	start, end  int
}

// parseEnv reads a file as systemd does for EnvironmentFile= (systemd.exec(5)). What is no
// assignment is passed over.
func parseEnv(text string) (all []assignment) {
	for i := 0; i < len(text); {
		start := i + len(text[i:]) - len(strings.TrimLeft(text[i:], " \t\r\n"))
		line, _, _ := strings.Cut(text[start:], "\n")
		name, _, found := strings.Cut(line, "=")
		if !found || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			i = start + len(line) + 1
			continue
		}
		value, length := parseValue(text[start+len(name)+1:])
		i = start + len(name) + 1 + length
		all = append(all, assignment{strings.TrimSpace(name), value, start, i})
	}
	return all
}

// parseValue reads a value up to the newline that ends it, and says how many bytes that is.
func parseValue(text string) (value string, length int) {
	var b strings.Builder
	quote, kept := byte(0), 0 // kept is what may not be trimmed
	begun := false            // within quotes begin no more
	i := 0
	for ; i < len(text); i++ {
		c := text[i]
		switch {
		case quote != 0 && c == quote:
			quote, begun, kept = 0, false, b.Len()
		case quote == '\'':
			b.WriteByte(c)
		case c == '\\' && i+1 < len(text):
			i++
			if quote == '"' && !strings.ContainsRune("\"\\`$\n", rune(text[i])) {
				b.WriteByte('\\')
			}
			if text[i] != '\n' {
				b.WriteByte(text[i])
				begun, kept = true, b.Len()
			}
		case quote != 0:
			b.WriteByte(c)
		case c == '\n':
			return b.String()[:max(kept, len(strings.TrimRight(b.String(), " \t\r")))], i
		case !begun && (c == '"' || c == '\''):
			quote = c
		case begun || !strings.ContainsRune(" \t\r", rune(c)):
			b.WriteByte(c)
			begun = true
		}
	}
	return b.String()[:max(kept, len(strings.TrimRight(b.String(), " \t\r")))], i
}

// Environment returns what the file sets, as os.Environ does; of two the last counts.
func Environment(text string) (environ []string) {
	for _, a := range parseEnv(text) {
		environ = append(environ, a.name+"="+a.value)
	}
	return environ
}

// BrokerEnvironment is what a broker is started with that has this unit, as systemctl cat
// shows it, and this environment file.
func BrokerEnvironment(unit, file string) []string {
	return append(Environment(unitEnvironment(unit)), Environment(file)...)
}

var unitSetting = regexp.MustCompile(`(?m)^Environment="?(FJMCP_BROKER_[^"\n]*)"?$`)

// unitEnvironment is what a unit's text sets of the broker's settings, a line each.
func unitEnvironment(unit string) string {
	var lines []string
	for _, m := range unitSetting.FindAllStringSubmatch(unit, -1) {
		lines = append(lines, m[1])
	}
	return strings.Join(lines, "\n")
}

// setting returns the value that the file gives to name; "" if none.
func setting(text, name string) (value string) {
	for _, a := range parseEnv(text) {
		if a.name == name {
			value = a.value
		}
	}
	return value
}

// withSetting sets name in the file: where it is set, else below the comment that shows it,
// else at the end. All other bytes stay as they are.
func withSetting(text, name, value string) string {
	line := name + "=" + quoted(value)
	all := parseEnv(text)
	for i := len(all) - 1; i >= 0; i-- {
		if a := all[i]; a.name == name {
			if a.value == value {
				return text
			}
			return text[:a.start] + line + text[a.end:]
		}
	}
	if at := regexp.MustCompile(`(?m)^#[ \t]*` + name + `=.*$`).FindStringIndex(text); at != nil {
		return text[:at[1]] + "\n" + line + text[at[1]:]
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + line + "\n"
}

var plain = regexp.MustCompile(`^[A-Za-z0-9:/._~%@,+\[\]-]+$`)

func quoted(value string) string {
	if plain.MatchString(value) {
		return value
	}
	return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`, "`", "\\`", `$`, `\$`).Replace(value) + `"`
}
