package groups

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/type/latlng"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/clock"
	"cairn.care/services/internal/pgtest"
)

// BenchmarkFindDuplicates searches a new directory of 10,000 groups, one in ten of them listed twice: what a first sync costs
// afterwards. Each iteration looks at one chunk.
func BenchmarkFindDuplicates(b *testing.B) {
	const groups = 10_000
	p := &pairs{server: &server{db: pgtest.New(b, "groups", migrations), clock: clock.NewFake(time.Now())}}
	p.dup = &duplicateServer{db: p.db, clock: p.clock, log: quiet()}
	ctx := auth.WithTenant(as(b.Context(), ours), auth.Tenant{All: true})
	r := rand.New(rand.NewPCG(1, 1))
	words := []string{"Harbor", "Hope", "Sunflower", "Courage", "Riverside", "Phoenix", "Lighthouse", "Pathways", "Esperanza", "Evergreen", "Summit", "Willow"}
	cancers := []string{"breast", "lung", "prostate", "colorectal", "ovarian", "melanoma"}
	var last *groupsv1.Group
	for range groups / 500 {
		batch := p.db.Batch(ctx)
		for range 500 {
			g := last
			if g == nil || r.IntN(10) > 0 {
				cancer := cancers[r.IntN(len(cancers))]
				town := r.IntN(400)
				g = meets(fmt.Sprintf("%s %s Cancer Support Group", words[r.IntN(len(words))], cancer), []string{"MO", "TU", "WE", "TH", "FR"}[r.IntN(5)])
				g.CancerTypes = []string{cancer}
				g.RegularTimes[0].StartTime = fmt.Sprintf("%02d:%02d", 9+r.IntN(11), 30*r.IntN(2))
				g.Venue = &groupsv1.Group_Venue{
					Address:  &typev1.PostalAddress{AddressLines: []string{fmt.Sprintf("%d Main Street", r.IntN(3000))}, Locality: fmt.Sprintf("Town %d", town), Country: "US"},
					Location: &latlng.LatLng{Latitude: 30 + float64(town/20) + r.NormFloat64()*0.03, Longitude: -100 + float64(town%20) + r.NormFloat64()*0.03},
				}
			}
			last = g
			k := groupKey{ID: aip.NewID(), OrgID: uuid.MustParse(ours[len("organizations/"):]), Revision: 1, State: int32(groupsv1.Group_PUBLISHED), CreateTime: time.Now(), UpdateTime: time.Now()}
			if err := queueInsertGroup(batch, &k, g); err != nil {
				b.Fatal(err)
			}
		}
		if err := p.db.Send(ctx, batch); err != nil {
			b.Fatal(err)
		}
	}
	more, chunks := true, 0
	b.ResetTimer()
	for b.Loop() {
		if !more { // once more from the beginning: keys and pairs are there
			if _, err := p.db.Exec(ctx, `UPDATE duplicate_cursor SET xid = '0', id = $1`, uuid.Nil); err != nil {
				b.Fatal(err)
			}
		}
		var err error
		if more, err = p.dup.find(ctx); err != nil {
			b.Fatal(err)
		}
		chunks++
	}
	b.ReportMetric(float64(chunks*findChunk)/b.Elapsed().Seconds(), "groups/s")
	var found int
	q := p.db.Batch(ctx)
	q.Queue(`SELECT count(*) FROM duplicates`).QueryRow(func(row pgx.Row) error { return row.Scan(&found) })
	if err := p.db.Send(ctx, q); err != nil {
		b.Fatal(err)
	}
	if chunks >= groups/findChunk && (found < groups/15 || found > groups/5) {
		b.Fatalf("found %d pairs of %d groups, want about a tenth as many", found, groups)
	}
	b.ReportMetric(float64(found), "pairs")
}
