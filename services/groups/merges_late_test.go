package groups

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/internal/pgtest"
)

// A proposal that cannot be settled does not keep the others waiting.
func TestSettleGoesOn(t *testing.T) {
	t.Parallel()
	p := setupPairs(t)
	for _, days := range []string{"TU", "TU", "TH", "TH"} {
		p.published(p.owner, t, meets("Harbor Breast Cancer Support Group", days))
	}
	p.search(t)
	list := p.list(p.owner, t, "")
	if len(list) != 2 {
		t.Fatalf("found %v, want two pairs", list)
	}
	first := list[0]
	if list[1].GetName() < first.GetName() {
		first = list[1]
	}
	feed, org := uuid.New(), uuid.MustParse(ours[len("organizations/"):])
	b := p.db.Batch(p.platform)
	b.Queue(`INSERT INTO feeds (id, org_id, revision, title, format, source_system, paused, body, create_time, update_time, pull_seconds)
		VALUES ($1, $2, 1, '', 'csv', 'csv', false, '\xff', $3, $3, 0)`, feed, org, time.Now())
	b.Queue(`INSERT INTO feed_items (feed_id, external_id, org_id, item, group_id, state, paused, digest, body) VALUES ($1, 'x', $2, 0, $3, 1, false, '', '')`,
		feed, org, uuid.MustParse(first.GetGroups()[0].GetName()[len("groups/"):]))
	b.Queue(`UPDATE duplicates SET unsettled = true`)
	if err := p.db.Send(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if n, err := p.dup.settle(t.Context()); n != 1 || err == nil {
		t.Errorf("settled %d (%v), want the second, and why the first was not", n, err)
	}
}

// A split that comes while the two are merged the other way round is refused.
func TestLateSplit(t *testing.T) {
	t.Parallel()
	p := setupPairs(t)
	a, b := p.published(p.owner, t, meets("Harbor Breast Cancer Support Group", "TU")), p.published(p.owner, t, meets("Harbor Breast Cancer Support Group", "TU"))
	p.search(t)
	d := must[*groupsv1.Duplicate](t)(p.dup.MergeDuplicate(p.owner, &groupsv1.MergeDuplicateRequest{Name: p.pair(p.owner, t).GetName(), Survivor: a.GetName()}))
	first, second := uuid.MustParse(a.GetName()[len("groups/"):]), uuid.MustParse(b.GetName()[len("groups/"):])
	split := make(chan error, 1)
	ctx := auth.WithTenant(p.platform, auth.Tenant{All: true})
	if err := p.db.Tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT FROM groups WHERE id = $1 FOR UPDATE`, first); err != nil {
			return err
		}
		go func() {
			_, err := p.dup.SplitDuplicate(p.owner, &groupsv1.SplitDuplicateRequest{Name: d.GetName()})
			split <- err
		}()
		if err := pgtest.Blocks(ctx, tx); err != nil {
			return err
		}
		for _, sql := range []string{
			`UPDATE groups SET merged_into = NULL, merge_time = NULL WHERE id = @second`,
			`UPDATE groups SET merged_into = @second, merge_time = now() WHERE id = @first`,
			`UPDATE duplicates SET survivor = @second WHERE id = @id`,
		} {
			if _, err := tx.Exec(ctx, sql, pgx.NamedArgs{"first": first, "second": second, "id": uuid.MustParse(d.GetName()[len("duplicates/"):])}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	refused(t, <-split, codes.Aborted)
	got := must[*groupsv1.Group](t)(p.GetGroup(p.owner, &groupsv1.GetGroupRequest{Name: a.GetName()}))
	if got.GetMergedInto() != aip.Name("groups", second) {
		t.Errorf("the group is merged into %q, want it left so", got.GetMergedInto())
	}
}
