package srv

import (
	"context"
	"database/sql"
	"errors"
)

// statements keeps the statements of the writer prepared: to parse them anew
// for each commit took longer than to run them. Their texts are few: the
// lists in them have at most so many rows.
type statements struct {
	db   *sql.DB
	keep bool // false where the one connection is that of the transaction
	all  map[string]*sql.Stmt
}

// in returns the statement prepared for a transaction; it ends with it.
func (s *statements) in(ctx context.Context, tx *sql.Tx, text string) (*sql.Stmt, error) {
	if !s.keep {
		return tx.PrepareContext(ctx, text)
	}
	st, ok := s.all[text]
	if !ok {
		var err error
		if st, err = s.db.PrepareContext(ctx, text); err != nil {
			return nil, err
		}
		if s.all == nil {
			s.all = make(map[string]*sql.Stmt)
		}
		s.all[text] = st
	}
	return tx.StmtContext(ctx, st), nil
}

func (s *statements) exec(ctx context.Context, tx *sql.Tx, text string, args ...any) (sql.Result, error) {
	st, err := s.in(ctx, tx, text)
	if err != nil {
		return nil, err
	}
	return st.ExecContext(ctx, args...)
}

func (s *statements) query(ctx context.Context, tx *sql.Tx, text string, args []any) (*sql.Rows, error) {
	st, err := s.in(ctx, tx, text)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}

func (s *statements) close() error {
	var errs []error
	for _, st := range s.all {
		errs = append(errs, st.Close())
	}
	return errors.Join(errs...)
}
