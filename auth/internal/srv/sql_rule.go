package srv

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/micro/go-platform/auth/proto"
	"github.com/micro/go-platform/internal/rpcerr"
)

// PutRule implements Store.
func (s *sqlStore) PutRule(ctx context.Context, r *pb.Rule, update bool, at uint64) error {
	doing := "create rule " + r.Id
	if update {
		doing = "update rule " + r.Id
	}
	return s.changeRule(ctx, doing, r.Id, at, func(tx *sql.Tx, old *pb.Rule, revision uint64) error {
		switch {
		case update && old == nil:
			return rpcerr.ErrNotFound
		case !update && old != nil:
			return rpcerr.ErrExists
		case update && r.Revision != 0 && r.Revision != old.Revision:
			return fmt.Errorf("%w: revision is %d now", rpcerr.ErrConflict, old.Revision)
		}
		r.Starting = old.GetStarting()
		return writeRule(ctx, tx, r, revision)
	})
}

// DeleteRule implements Store.
func (s *sqlStore) DeleteRule(ctx context.Context, id string, at uint64) error {
	return s.changeRule(ctx, "delete rule "+id, id, at, func(tx *sql.Tx, old *pb.Rule, _ uint64) error {
		if old == nil {
			return rpcerr.ErrNotFound
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM rules WHERE id = ?`, id)
		return err
	})
}

// changeRule is change for a rule: it reads that one, none of the others.
func (s *sqlStore) changeRule(ctx context.Context, doing, id string, at uint64, f func(tx *sql.Tx, old *pb.Rule, revision uint64) error) error {
	return s.change(ctx, doing, func(tx *sql.Tx, revision uint64) error {
		var is uint64
		if err := tx.QueryRowContext(ctx, `SELECT rules FROM feed WHERE id = 1`).Scan(&is); err != nil {
			return err
		}
		if is != at {
			return errMoved
		}
		rows, err := tx.QueryContext(ctx, `SELECT rule, revision FROM rules WHERE id = ?`, id)
		found, err := scanRules(rows, err)
		if err != nil {
			return err
		}
		var old *pb.Rule
		if len(found) > 0 {
			old = found[0]
		}
		if err := f(tx, old, revision); err != nil {
			return err
		}
		return rulesChanged(ctx, tx, revision, id, old)
	})
}

func writeRule(ctx context.Context, tx *sql.Tx, r *pb.Rule, revision uint64) error {
	r.Revision = revision
	text, err := encodeRule(r)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM rules WHERE id = ?`, r.Id); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO rules (id, rule, revision) VALUES (?, ?, ?)`, r.Id, text, revision)
	return err
}

// rulesChanged keeps what the change of a rule replaced, so that watchers can be
// told the difference.
func rulesChanged(ctx context.Context, tx *sql.Tx, revision uint64, id string, old *pb.Rule) error {
	was, err := encodeRule(old)
	if err != nil {
		return err
	}
	mark := rand.Text()
	if _, err := tx.ExecContext(ctx, `INSERT INTO rule_changes (revision, id, was, mark, changed_at) VALUES (?, ?, ?, ?, ?)`,
		revision, id, was, mark, time.Now().Unix()); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE feed SET rules = ?, mark = ? WHERE id = 1`, revision, mark)
	return err
}

// encodeRule returns the text that a rule is kept as, "" for none.
func encodeRule(r *pb.Rule) (string, error) {
	if r == nil {
		return "", nil
	}
	text, err := protojson.Marshal(r)
	return string(text), err
}

func decodeRule(text string) (*pb.Rule, error) {
	if text == "" {
		return nil, nil
	}
	r := &pb.Rule{}
	return r, protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal([]byte(text), r)
}

// scanRules reads the result of a query for rule and revision.
func scanRules(rows *sql.Rows, err error) ([]*pb.Rule, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := []*pb.Rule{}
	for rows.Next() {
		var text string
		var revision uint64
		if err := rows.Scan(&text, &revision); err != nil {
			return nil, err
		}
		r, err := decodeRule(text)
		if err != nil {
			return nil, err
		}
		r.Revision = revision
		found = append(found, r)
	}
	return found, rows.Err()
}

// selectRules reads the rules that changed after a revision and what they were
// before. Unless that is known for all revisions since, it reads all rules.
func selectRules(ctx context.Context, tx *sql.Tx, since uint64) (*ruleChanges, error) {
	c := &ruleChanges{}
	if err := tx.QueryRowContext(ctx, `SELECT rules, mark, forgotten FROM feed WHERE id = 1`).Scan(&c.revision, &c.mark, &c.forgotten); err != nil {
		return nil, err
	}
	if c.whole = since == 0 || since < c.forgotten; c.whole {
		since = 0
	}
	rows, err := tx.QueryContext(ctx, `SELECT rule, revision FROM rules WHERE revision > ?`, since)
	if c.rules, err = scanRules(rows, err); err != nil {
		return nil, err
	}
	rows, err = tx.QueryContext(ctx, `SELECT revision, id, was, mark FROM rule_changes WHERE revision > ? ORDER BY revision, id`, since)
	c.history, err = scanChanges(rows, err)
	return c, err
}

func scanChanges(rows *sql.Rows, err error) ([]ruleChange, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []ruleChange
	for rows.Next() {
		var c ruleChange
		var was string
		if err := rows.Scan(&c.revision, &c.id, &was, &c.mark); err != nil {
			return nil, err
		}
		if c.was, err = decodeRule(was); err != nil {
			return nil, err
		}
		found = append(found, c)
	}
	return found, rows.Err()
}

// The changes of rules that are kept: those of an hour, and no more than that
// many.
const (
	keepChanges = time.Hour
	maxChanges  = 10_000
)

// pruneChanges forgets old changes of rules, and that they are forgotten is kept.
// The last one stays: it is where watchers are.
func pruneChanges(ctx context.Context, tx *sql.Tx, now time.Time) error {
	var last, surplus sql.Null[uint64]
	if err := tx.QueryRowContext(ctx, `SELECT MAX(revision) FROM rule_changes WHERE changed_at < ?`, now.Add(-keepChanges).Unix()).Scan(&last); err != nil {
		return err
	}
	err := tx.QueryRowContext(ctx, `SELECT revision FROM rule_changes ORDER BY revision DESC LIMIT 1 OFFSET ?`, maxChanges).Scan(&surplus)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	var rules, forgotten uint64
	if err := tx.QueryRowContext(ctx, `SELECT rules, forgotten FROM feed WHERE id = 1`).Scan(&rules, &forgotten); err != nil {
		return err
	}
	below := min(max(last.V, surplus.V), max(rules, 1)-1)
	if below <= forgotten {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `UPDATE feed SET forgotten = ? WHERE id = 1`, below); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM rule_changes WHERE revision <= ?`, below)
	return err
}
