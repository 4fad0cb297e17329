package main

// failure is an error that ends what is being measured.
type failure struct{ error }

// need has caught return an error, as Fatal of package testing ends a test: what is
// measured is a long line of steps, none of which can be left out.
func need(err error) {
	if err != nil {
		panic(failure{err})
	}
}

// must is need for what returns a value too.
func must[T any](v T, err error) T {
	need(err)
	return v
}

// caught is deferred where such a line begins. It must be the same goroutine's.
func caught(err *error) {
	switch p := recover().(type) {
	case nil:
	case failure:
		*err = p.error
	default:
		panic(p)
	}
}
