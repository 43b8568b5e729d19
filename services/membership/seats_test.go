package membership

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/encoding/protojson"
	"pgregory.net/rapid"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/auth"
)

// model is what the seats of one group should be, in the simplest words.
type model struct {
	seats     int
	waitlist  bool
	accepting bool
	archived  bool
	states    map[string]membershipv1.Membership_State
	queue     []string // of the waitlist
}

func (m *model) taken() int {
	n := 0
	for _, s := range m.states {
		if (&membershipRow{State: s}).holdsSeat() {
			n++
		}
	}
	return n
}

func (m *model) full() bool { return m.seats != 0 && m.taken() >= m.seats }

// settle lets the waitlist move up.
func (m *model) settle() {
	for m.accepting && !m.full() && len(m.queue) > 0 {
		m.states[m.queue[0]] = approved
		m.queue = m.queue[1:]
	}
}

func (m *model) close(name string, to membershipv1.Membership_State) {
	m.states[name] = to
	m.queue = slices.DeleteFunc(m.queue, func(n string) bool { return n == name })
	m.settle()
}

func (m *model) in(states ...membershipv1.Membership_State) []string {
	var names []string
	for n, s := range m.states {
		if slices.Contains(states, s) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}

// TestSeatsFollowTheModel runs random lives of a group and compares every membership, the waitlist's order and the numbers
// with the model after each step.
func TestSeatsFollowTheModel(t *testing.T) {
	t.Parallel()
	f := setup(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{
			seats: rapid.IntRange(0, 4).Draw(rt, "seats"), waitlist: rapid.Bool().Draw(rt, "waitlist"), accepting: true,
			states: map[string]membershipv1.Membership_State{},
		}
		g := f.newGroup(int32(m.seats), m.waitlist)
		pick := func(rt *rapid.T, what string, states ...membershipv1.Membership_State) (string, bool) {
			names := m.in(states...)
			if len(names) == 0 {
				return "", false
			}
			return names[rapid.IntRange(0, len(names)-1).Draw(rt, what)], true
		}
		must := func(err error) {
			if err != nil {
				rt.Fatalf("unexpected: %v", err)
			}
		}
		admit := func(name string, err error) {
			switch want := reasonOf(err); {
			case !m.accepting:
				if want != "FailedPrecondition GROUP_NOT_ACCEPTING" {
					rt.Fatalf("not accepting: got %v", err)
				}
			case !m.full() && len(m.queue) == 0:
				must(err)
				m.states[name] = approved
			case m.waitlist:
				must(err)
				m.states[name] = waitlisted
				m.queue = append(m.queue, name)
			case want != "FailedPrecondition GROUP_FULL":
				rt.Fatalf("full: got %v", err)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"request": func(rt *rapid.T) {
				made, err := f.CreateMembership(f.ctx(), &membershipv1.CreateMembershipRequest{Group: g.GetGroup(), Member: f.newMember().GetName()})
				if !m.accepting {
					if reasonOf(err) != "FailedPrecondition GROUP_NOT_ACCEPTING" {
						rt.Fatalf("request: %v", err)
					}
					return
				}
				must(err)
				m.states[made.GetName()] = requested
			},
			"approve": func(rt *rapid.T) {
				if name, ok := pick(rt, "who", requested); ok {
					_, err := f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: name})
					admit(name, err)
				}
			},
			"place": func(*rapid.T) {
				made, err := f.place(g, newReferral())
				admit(made.GetName(), err)
			},
			"decline": func(rt *rapid.T) {
				if name, ok := pick(rt, "who", requested, waitlisted); ok {
					_, err := f.DeclineMembership(f.ctx(), &membershipv1.DeclineMembershipRequest{Name: name, Reason: 1})
					must(err)
					m.close(name, declined)
				}
			},
			"acknowledge": func(rt *rapid.T) {
				if name, ok := pick(rt, "who", approved); ok {
					_, err := f.AcknowledgeGuidelines(f.ctx(), &membershipv1.AcknowledgeGuidelinesRequest{Name: name, Version: 1})
					must(err)
					m.states[name] = active
				}
			},
			"leave": func(rt *rapid.T) {
				if name, ok := pick(rt, "who", active); ok {
					_, err := f.StartLeave(f.ctx(), &membershipv1.StartLeaveRequest{Name: name})
					must(err)
					m.states[name] = onLeave
				}
			},
			"end": func(rt *rapid.T) {
				if name, ok := pick(rt, "who", requested, waitlisted, approved, active, onLeave); ok {
					_, err := f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: name, Reason: 1})
					must(err)
					m.close(name, ended)
				}
			},
			"change group": func(rt *rapid.T) {
				if m.archived {
					return
				}
				m.seats, m.waitlist, m.accepting = rapid.IntRange(0, 4).Draw(rt, "seats"), rapid.Bool().Draw(rt, "waitlist"), rapid.IntRange(0, 3).Draw(rt, "accepting") > 0
				g.Seats, g.Waitlist, g.AcceptsIntake = int32(m.seats), m.waitlist, m.accepting
				f.tell(g)
				m.settle()
			},
			"archive": func(rt *rapid.T) {
				if m.archived || rapid.IntRange(0, 9).Draw(rt, "really") > 0 {
					return
				}
				g.State, g.AcceptsIntake = 4, false
				f.tell(g)
				m.archived, m.accepting, m.queue = true, false, nil
				for _, name := range m.in(requested, waitlisted, approved, active, onLeave) {
					m.states[name] = ended
				}
			},
			"": func(rt *rapid.T) { // after every step
				list, err := f.ListMemberships(f.ctx(), &membershipv1.ListMembershipsRequest{Group: g.GetGroup(), PageSize: 200})
				must(err)
				if len(list.GetMemberships()) != len(m.states) {
					rt.Fatalf("%d memberships, want %d", len(list.GetMemberships()), len(m.states))
				}
				for _, got := range list.GetMemberships() {
					if want := m.states[got.GetName()]; got.GetState() != want {
						rt.Fatalf("%s is %v, want %v", got.GetName(), got.GetState(), want)
					}
					if want := int32(slices.Index(m.queue, got.GetName()) + 1); got.GetWaitlistPosition() != want {
						rt.Fatalf("%s waits at %d, want %d", got.GetName(), got.GetWaitlistPosition(), want)
					}
				}
				if s := f.seatsOf(g); int(s.Taken) != m.taken() || int(s.Waiting) != len(m.queue) {
					rt.Fatalf("%d taken and %d waiting, want %d and %d", s.Taken, s.Waiting, m.taken(), len(m.queue))
				}
			},
		})
	})
}

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
