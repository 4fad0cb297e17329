package store

import (
	"context"

	"gorm.io/gorm"
)

// Plans runs do and returns SQLite's plan of each query that it made, one step a line.
func (s *Store) Plans(do func()) (plans map[string][]string, err error) {
	type query struct {
		sql  string
		vars []any
	}
	read := s.db.Reader(context.Background())
	var asked []query
	note := func(tx *gorm.DB) { asked = append(asked, query{tx.Statement.SQL.String(), tx.Statement.Vars}) }
	const name = "test:note"
	if err := read.Callback().Query().After("gorm:query").Register(name, note); err != nil {
		return nil, err
	}
	do()
	if err := read.Callback().Query().Remove(name); err != nil {
		return nil, err
	}
	plans = map[string][]string{}
	for _, q := range asked {
		var steps []struct{ Detail string }
		if err := read.Raw("EXPLAIN QUERY PLAN "+q.sql, q.vars...).Scan(&steps).Error; err != nil {
			return nil, err
		}
		for _, step := range steps {
			plans[q.sql] = append(plans[q.sql], step.Detail)
		}
	}
	return plans, nil
}
