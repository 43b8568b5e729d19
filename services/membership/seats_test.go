package membership

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/auth"
)

// seatEvents returns what was told of a group's seats, in the order in which it leaves.
func (f *fixture) seatEvents(g *told) []*membershipv1.SeatsChanged {
	f.t.Helper()
	ctx := auth.System(f.t.Context(), "membership")
	var told []*membershipv1.SeatsChanged
	if err := f.db.Tx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT data::text FROM outbox WHERE subject = $1 ORDER BY id`, g.GetGroup())
		if err != nil {
			return err
		}
		texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, text := range texts {
			e := new(membershipv1.SeatsChanged)
			if err := protojson.Unmarshal([]byte(text), e); err != nil {
				return err
			}
			told = append(told, e)
		}
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	return told
}

// TestManyAtOnceNeverOversell has many people come and go at once and checks that at no committed moment more were in than
// there are seats, and that in the end the numbers are those of the rows.
func TestManyAtOnceNeverOversell(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(5, true)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 12 {
				var m *membershipv1.Membership
				var err error
				if i%2 == 0 {
					m, err = f.place(g, newReferral())
				} else {
					m = f.requestPlace(g)
					m, err = f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: m.GetName()})
				}
				if err != nil {
					t.Errorf("join: %v", err)
					return
				}
				if i%3 == 0 {
					continue // stays
				}
				if _, err := f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: m.GetName(), Reason: 1}); err != nil {
					t.Errorf("end: %v", err)
				}
			}
		})
	}
	wg.Wait()
	events := f.seatEvents(g)
	for i, e := range events {
		if e.GetTaken() > 5 {
			t.Errorf("revision %d: %d seats of 5 taken", e.GetRevision(), e.GetTaken())
		}
		if e.GetWaitlistLength() > 0 && e.GetOpenSeats() > 0 {
			t.Errorf("revision %d: %d wait while %d seats are open", e.GetRevision(), e.GetWaitlistLength(), e.GetOpenSeats())
		}
		if e.GetRevision() != int64(i+1) {
			t.Errorf("event %d has revision %d", i+1, e.GetRevision())
		}
	}
	var held, waiting int
	list, err := f.ListMemberships(f.ctx(), &membershipv1.ListMembershipsRequest{Group: g.GetGroup(), PageSize: 200})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list.GetMemberships() {
		switch {
		case m.GetHoldsSeat():
			held++
		case m.GetState() == waitlisted:
			waiting++
		}
	}
	s, last := f.seatsOf(g), events[len(events)-1]
	got := fmt.Sprint(s.Taken, s.Waiting, last.GetTaken(), last.GetWaitlistLength())
	if want := fmt.Sprint(held, waiting, held, waiting); got != want || held != 5 {
		t.Errorf("row and last event say %s, the memberships %s, want 5 seats held", got, want)
	}
}

// TestManyComeAndGoAtOnce has many clients do everything at once that touches seats, while offers expire. At no committed moment
// more are in than there are seats, or somebody waits while one is free; in the end the numbers are those of the rows.
func TestManyComeAndGoAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	const seats, clients, steps = 4, 8, 25
	g := f.newGroup(seats, true)
	g.Joining = &groupsv1.Group_Joining{Leave: groupsv1.Group_Joining_FREES_SEAT, OfferDuration: durationpb.New(time.Hour)}
	f.tell(g)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(c)))
			var mine []string
			for range steps {
				if len(mine) < 3 {
					mine = append(mine, f.join(g).GetName())
					continue
				}
				at := r.IntN(len(mine))
				var err error
				switch m := f.get(mine[at]); m.GetState() {
				case offered:
					if r.IntN(3) > 0 {
						_, err = f.AcceptOffer(f.ctx(), &membershipv1.AcceptOfferRequest{Name: m.GetName()})
					} else {
						_, err = f.DeclineOffer(f.ctx(), &membershipv1.DeclineOfferRequest{Name: m.GetName()})
					}
				case approved:
					_, err = f.AcknowledgeGuidelines(f.ctx(), &membershipv1.AcknowledgeGuidelinesRequest{Name: m.GetName(), Version: 1})
				case active:
					_, err = f.StartLeave(f.ctx(), &membershipv1.StartLeaveRequest{Name: m.GetName()})
				case onLeave:
					_, err = f.EndLeave(f.ctx(), &membershipv1.EndLeaveRequest{Name: m.GetName()})
				case waitlisted:
					if r.IntN(4) == 0 {
						_, err = f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: m.GetName(), Reason: 1})
					}
				default:
					mine = slices.Delete(mine, at, at+1)
				}
				// An offer may have expired since it was read.
				if got := reasonOf(err); got != "OK" && got != "FailedPrecondition OFFER_EXPIRED" && got != "FailedPrecondition ILLEGAL_TRANSITION" {
					t.Errorf("client %d: %v", c, err)
				}
			}
		})
	}
	wg.Go(func() {
		for range steps {
			f.clock.Advance(20 * time.Minute)
			if err := f.expireOffers(f.system()); err != nil {
				t.Errorf("expire offers: %v", err)
			}
		}
	})
	wg.Wait()
	events := f.seatEvents(g)
	for i, e := range events {
		if e.GetTaken() > seats || e.GetWaitlistLength() > 0 && e.GetOpenSeats() > 0 || e.GetRevision() != int64(i+1) {
			t.Errorf("event %d: %v", i+1, e)
		}
	}
	list, err := f.ListMemberships(f.ctx(), &membershipv1.ListMembershipsRequest{Group: g.GetGroup(), PageSize: 200})
	if err != nil {
		t.Fatal(err)
	}
	var held int32
	var line []int32
	for _, m := range list.GetMemberships() {
		if m.GetHoldsSeat() {
			held++
		}
		if m.GetState() == waitlisted {
			line = append(line, m.GetWaitlistPosition())
		}
	}
	slices.Sort(line)
	for i, at := range line {
		if at != int32(i+1) {
			t.Errorf("the places in line are %v", line)
			break
		}
	}
	s, last := f.seatsOf(g), events[len(events)-1]
	if s.Taken != held || int(s.Waiting) != len(line) || last.GetTaken() != held || int(last.GetWaitlistLength()) != len(line) {
		t.Errorf("%d seats held and %d waiting; the row says %d and %d, the last event %v", held, len(line), s.Taken, s.Waiting, last)
	}
}

// TestThousandForTenSeats is the crowd of performance.md: 1,000 requests for 10 seats.
func TestThousandForTenSeats(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(10, false)
	const people = 1000
	names := make([]string, people)
	var ready sync.WaitGroup
	for i := range 8 {
		ready.Go(func() {
			for j := i; j < people; j += 8 {
				names[j] = f.requestPlace(g).GetName()
			}
		})
	}
	ready.Wait()
	var seated, full atomic.Int32
	start := time.Now()
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() {
			m, err := f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: name})
			switch {
			case err == nil && m.GetState() == approved:
				seated.Add(1)
			case strings.HasSuffix(reasonOf(err), "GROUP_FULL"):
				full.Add(1)
			default:
				t.Errorf("approve: %v, %v", m, err)
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	t.Logf("%d decided in %v: %.0f/s", people, took.Round(time.Millisecond), people/took.Seconds())
	if seated.Load() != 10 || full.Load() != people-10 {
		t.Errorf("%d seated and %d refused, want 10 and %d", seated.Load(), full.Load(), people-10)
	}
	if s := f.seatsOf(g); s.Taken != 10 {
		t.Errorf("the row says %d taken", s.Taken)
	}
}
