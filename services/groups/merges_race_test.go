package groups

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/chassis/fault"
)

// However merges, splits and feeds meet: no group is merged in a circle, and pairs and groups tell the same.
func TestMergesAtOnce(t *testing.T) {
	t.Parallel()
	w := setupTwins(t, 1)
	p := w.merging
	pairs := p.list(p.owner, t, "")
	var workers sync.WaitGroup
	var done [3]atomic.Int32
	for worker := range uint64(4) {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(worker, 3))
			for n := range 25 {
				d := pairs[r.IntN(len(pairs))]
				var err error
				what := r.IntN(3)
				switch what {
				case 0:
					_, err = p.dup.SplitDuplicate(p.owner, &groupsv1.SplitDuplicateRequest{Name: d.GetName()})
				case 1:
					_, err = p.dup.MergeDuplicate(p.owner, &groupsv1.MergeDuplicateRequest{Name: d.GetName(), Survivor: d.GetGroups()[r.IntN(2)].GetName()})
				case 2:
					err = tell(p, d.GetGroups()[0].GetName(), func(g *groupsv1.Group) { g.Description = fmt.Sprint(worker, n) }, nil)
				}
				if err == nil {
					done[what].Add(1)
				}
				// Of two that wait for each other PostgreSQL ends one, which may be tried again.
				if c := fault.From(err).Code(); err != nil && c != codes.FailedPrecondition && c != codes.Unavailable {
					t.Errorf("worker %d, step %d: %v", worker, n, err)
				}
			}
		})
	}
	workers.Wait()
	for what, name := range []string{"split", "merge", "feed"} {
		if done[what].Load() == 0 {
			t.Errorf("no %s has come about: the test tries nothing", name)
		}
	}
	var merged, agreeing, circles int
	b := p.db.Batch(p.platform)
	b.Queue(`SELECT count(*) FROM groups WHERE merged_into IS NOT NULL`).QueryRow(func(row pgx.Row) error { return row.Scan(&merged) })
	b.Queue(`
		SELECT count(*) FROM duplicates d
		JOIN groups g ON g.id IN (d.first_id, d.second_id) AND g.id <> d.survivor AND g.merged_into = d.survivor
		WHERE d.state = 2`).QueryRow(func(row pgx.Row) error { return row.Scan(&agreeing) })
	b.Queue(`
		WITH RECURSIVE up AS (
			SELECT id AS start, merged_into AS at, 1 AS steps FROM groups WHERE merged_into IS NOT NULL
			UNION ALL
			SELECT up.start, g.merged_into, up.steps + 1 FROM up JOIN groups g ON g.id = up.at WHERE g.merged_into IS NOT NULL AND up.steps < 20
		)
		SELECT count(*) FROM up WHERE steps = 20`).QueryRow(func(row pgx.Row) error { return row.Scan(&circles) })
	if err := p.db.Send(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if n := len(p.list(p.owner, t, "state = MERGED")); merged != agreeing || merged != n || circles > 0 {
		t.Errorf("%d groups are merged, %d pairs are, %d agree, %d go in circles", merged, n, agreeing, circles)
	}
}
