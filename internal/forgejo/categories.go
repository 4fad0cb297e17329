package forgejo

// Categories lists the parts of Forgejo's API that a scope list opens, as
// Forgejo enforces it: those that can be read, and of them those that can be
// changed. Names are those of the scopes, such as "issue".
func Categories(scope string) (read, write []string) {
	r := effective(scope)
	for _, category := range categories {
		if r.level[category] >= 1 {
			read = append(read, category)
		}
		if r.level[category] >= 2 {
			write = append(write, category)
		}
	}
	return read, write
}
