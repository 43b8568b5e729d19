package membership

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/auth"
)

// model is what the seats of one group should be, in the simplest words.
type model struct {
	seats                         int
	waitlist, accepting, archived bool
	automatic, screening, freeing bool
	survivorsOnly                 bool
	offerFor                      time.Duration
	people                        map[string]*place // by membership
	queue                         []string          // of the waitlist
	now                           func() time.Time
}

// place is one membership of the model.
type place struct {
	state      membershipv1.Membership_State
	survivor   bool
	placed     bool // by a referral
	been       bool // active before
	freed      bool // the leave freed the seat
	front      bool // waits to come back
	screened   membershipv1.Membership_ScreeningOutcome
	unanswered int
	expires    time.Time // of the offer
}

func (p *place) seated() bool {
	return p.state == offered || p.state == approved || p.state == active || p.state == onLeave && !p.freed
}

func (m *model) taken() (n int) {
	for _, p := range m.people {
		if p.seated() {
			n++
		}
	}
	return n
}

func (m *model) full() bool              { return m.seats != 0 && m.taken() >= m.seats }
func (m *model) qualifies(p *place) bool { return p.survivor || !m.survivorsOnly }

// settle offers the free seats.
func (m *model) settle() {
	for m.accepting && !m.full() {
		i := slices.IndexFunc(m.queue, func(n string) bool { return m.qualifies(m.people[n]) })
		if i < 0 {
			return
		}
		p := m.people[m.queue[i]]
		p.state, p.expires, p.front = offered, m.now().Add(m.offerFor), false
		m.queue = slices.Delete(m.queue, i, i+1)
	}
}

// wait puts somebody in the line.
func (m *model) wait(name string) {
	p := m.people[name]
	p.front = p.state == onLeave
	p.state, p.freed = waitlisted, false
	at := len(m.queue)
	if p.front {
		at = 0
		for at < len(m.queue) && m.people[m.queue[at]].front {
			at++
		}
	}
	m.queue = slices.Insert(m.queue, at, name)
}

// leave takes somebody out for good.
func (m *model) leave(name string, to membershipv1.Membership_State) {
	m.people[name].state, m.people[name].freed = to, false
	m.queue = slices.DeleteFunc(m.queue, func(n string) bool { return n == name })
	m.settle()
}

// admit returns the state that somebody gets who is let in, and why not.
func (m *model) admit() (membershipv1.Membership_State, string) {
	switch {
	case !m.accepting:
		return 0, "FailedPrecondition GROUP_NOT_ACCEPTING"
	case !m.full():
		return approved, "OK"
	case m.waitlist:
		return waitlisted, "OK"
	}
	return 0, "FailedPrecondition GROUP_FULL"
}

// enter writes down what somebody got.
func (m *model) enter(name string, p *place, to membershipv1.Membership_State) {
	m.people[name] = p
	if to == waitlisted {
		p.state = requested
		m.wait(name)
		return
	}
	p.state = to
}

// refusal is why a request cannot be approved, "" if it can.
func (m *model) refusal(p *place) string {
	switch {
	case m.screening && p.screened == 0:
		return "FailedPrecondition SCREENING_NEEDED"
	case m.screening && p.screened == membershipv1.Membership_UNSUITABLE:
		return "FailedPrecondition SCREENED_UNSUITABLE"
	case !m.qualifies(p):
		return "FailedPrecondition NOT_ELIGIBLE"
	}
	return ""
}

// expire passes on the offers whose time is over.
func (m *model) expire() {
	due := slices.SortedFunc(maps.Keys(m.people), func(a, b string) int {
		return cmp.Or(m.people[a].expires.Compare(m.people[b].expires), cmp.Compare(a, b))
	})
	for _, name := range due {
		p := m.people[name]
		if p.state != offered || p.expires.After(m.now()) {
			continue
		}
		if p.unanswered++; p.unanswered == 3 {
			m.leave(name, ended)
			continue
		}
		m.wait(name)
		m.settle()
	}
}

func (m *model) in(states ...membershipv1.Membership_State) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for n, p := range m.people {
			if slices.Contains(states, p.state) && !yield(n) {
				return
			}
		}
	})
}

// tellModel has the group say what the model says of it.
func (f *fixture) tellModel(g *told, m *model) {
	g.Seats, g.Waitlist, g.AcceptsIntake = int32(m.seats), m.waitlist, m.accepting
	g.Joining = &groupsv1.Group_Joining{OfferDuration: durationpb.New(m.offerFor)}
	if m.automatic {
		g.Joining.Approval = groupsv1.Group_Joining_AUTOMATIC
	}
	if m.freeing {
		g.Joining.Leave = groupsv1.Group_Joining_FREES_SEAT
	}
	g.Intake, g.Audiences = groupsv1.Group_NO_SCREENING, nil
	if m.screening {
		g.Intake = groupsv1.Group_SCREENING
	}
	if m.survivorsOnly {
		g.Audiences = []groupsv1.Group_Audience{groupsv1.Group_SURVIVORS}
	}
	f.tell(g)
}

// TestSeatsFollowTheModel runs random lives of a group, over months, and compares every membership, the waitlist's order and the
// numbers with the model after each step.
func TestSeatsFollowTheModel(t *testing.T) {
	t.Parallel()
	f := setup(t)
	system := auth.System(t.Context(), "membership")
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{accepting: true, people: map[string]*place{}, now: f.clock.Now, offerFor: 72 * time.Hour}
		draw := func(rt *rapid.T) {
			odds := func(n int, what string) bool { return rapid.IntRange(0, n).Draw(rt, what) == 0 }
			m.seats, m.waitlist = rapid.SampledFrom([]int{0, 1, 1, 2, 2, 3, 4}).Draw(rt, "seats"), !odds(4, "no waitlist")
			m.automatic, m.screening, m.freeing, m.survivorsOnly = odds(2, "automatic"), odds(3, "screening"), odds(1, "leaves free seats"), odds(2, "survivors only")
			m.offerFor = time.Duration(rapid.IntRange(1, 100).Draw(rt, "offer hours")) * time.Hour
		}
		draw(rt)
		g := f.newGroup(0, false)
		f.tellModel(g, m)
		defer func() { // leave nothing to expire in the next life
			g.State, g.AcceptsIntake = groupsv1.Group_ARCHIVED, false
			f.tell(g)
		}()
		pick := func(rt *rapid.T, states ...membershipv1.Membership_State) (string, *place) {
			names := m.in(states...)
			if len(names) == 0 {
				return "", nil
			}
			name := names[rapid.IntRange(0, len(names)-1).Draw(rt, "who")]
			return name, m.people[name]
		}
		expect := func(rt *rapid.T, err error, want string) {
			if got := reasonOf(err); got != want {
				rt.Fatalf("got %s (%v), want %s", got, err, want)
			}
		}
		ask := func(p *place) (*membershipv1.Membership, error) {
			role := membershipv1.Member_CAREGIVER
			if p.survivor {
				role = membershipv1.Member_SURVIVOR
			}
			who, err := f.CreateMember(f.ctx(), &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{Alias: "Wren", Role: role}})
			if err != nil {
				return nil, err
			}
			return f.CreateMembership(f.ctx(), &membershipv1.CreateMembershipRequest{Group: g.GetGroup(), Member: who.GetName()})
		}
		request := func(rt *rapid.T) string {
			p := &place{survivor: rapid.IntRange(0, 2).Draw(rt, "survivor") > 0}
			made, err := ask(p)
			to, want := requested, "OK"
			switch {
			case !m.accepting:
				want = "FailedPrecondition GROUP_NOT_ACCEPTING"
			case !m.qualifies(p):
				want = "FailedPrecondition NOT_ELIGIBLE"
			case m.automatic && m.full() && !m.waitlist:
				want = "FailedPrecondition GROUP_FULL"
			case m.automatic && !m.screening:
				to, want = m.admit()
			}
			expect(rt, err, want)
			if err == nil {
				m.enter(made.GetName(), p, to)
			}
			return made.GetName()
		}
		approve := func(rt *rapid.T, name string) {
			p := m.people[name]
			_, err := f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: name})
			if why := m.refusal(p); why != "" {
				expect(rt, err, why)
				return
			}
			to, want := m.admit()
			expect(rt, err, want)
			if err == nil {
				m.enter(name, p, to)
			}
		}
		acknowledge := func(rt *rapid.T, name string) {
			p := m.people[name]
			_, err := f.AcknowledgeGuidelines(f.ctx(), &membershipv1.AcknowledgeGuidelinesRequest{Name: name, Version: 1})
			if m.screening && p.placed && p.screened != membershipv1.Membership_SUITABLE {
				expect(rt, err, "FailedPrecondition SCREENING_NEEDED")
				return
			}
			expect(rt, err, "OK")
			p.state, p.been = active, true
		}
		leave := func(rt *rapid.T, name string) {
			_, err := f.StartLeave(f.ctx(), &membershipv1.StartLeaveRequest{Name: name})
			expect(rt, err, "OK")
			m.people[name].state, m.people[name].freed = onLeave, m.freeing
			m.settle()
		}
		comeBack := func(rt *rapid.T, name string) {
			p := m.people[name]
			_, err := f.EndLeave(f.ctx(), &membershipv1.EndLeaveRequest{Name: name})
			expect(rt, err, "OK")
			if p.freed && m.full() {
				m.wait(name)
			} else {
				p.state, p.freed = active, false
			}
		}
		sweep := func(rt *rapid.T) {
			expect(rt, f.expireOffers(system), "OK")
			m.expire()
		}
		rt.Repeat(map[string]func(*rapid.T){
			"request": func(rt *rapid.T) { request(rt) },
			"several come": func(rt *rapid.T) {
				for range rapid.IntRange(1, 4).Draw(rt, "how many") {
					name := request(rt)
					if name != "" && m.people[name].state == requested {
						approve(rt, name)
					}
					if name != "" && m.people[name].state == approved {
						acknowledge(rt, name)
					}
				}
			},
			"all leave for a while": func(rt *rapid.T) {
				away := m.in(active)
				for _, name := range away {
					leave(rt, name)
				}
				for _, name := range away {
					comeBack(rt, name)
				}
			},
			"nobody answers": func(rt *rapid.T) {
				for range rapid.IntRange(1, 8).Draw(rt, "offers") {
					f.clock.Advance(m.offerFor)
					sweep(rt)
				}
			},
			"approve": func(rt *rapid.T) {
				if name, p := pick(rt, requested); p != nil {
					approve(rt, name)
				}
			},
			"approve many at once": func(rt *rapid.T) {
				names := m.in(requested)
				errs, answers := make([]error, len(names)), make([]*membershipv1.Membership, len(names))
				var wg sync.WaitGroup
				for i, name := range names {
					wg.Go(func() {
						answers[i], errs[i] = f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: name})
					})
				}
				wg.Wait()
				// Whoever was seated came first, then those who wait, in the order of their places.
				order := make([]int, len(names))
				for i := range order {
					order[i] = i
				}
				slices.SortStableFunc(order, func(a, b int) int {
					late := func(i int) int { return map[bool]int{true: 1}[errs[i] != nil] }
					return cmp.Or(late(a)-late(b), cmp.Compare(answers[a].GetWaitlistPosition(), answers[b].GetWaitlistPosition()))
				})
				for _, i := range order {
					p := m.people[names[i]]
					to, want := m.admit()
					if why := m.refusal(p); why != "" {
						want = why
					}
					expect(rt, errs[i], want)
					if errs[i] == nil {
						m.enter(names[i], p, to)
					}
				}
			},
			"screen": func(rt *rapid.T) {
				name, p := pick(rt, requested, waitlisted, approved)
				if p == nil {
					return
				}
				p.screened = membershipv1.Membership_ScreeningOutcome(rapid.IntRange(1, 2).Draw(rt, "outcome"))
				if p.state == approved && p.been {
					return
				}
				_, err := f.RecordScreening(f.ctx(), &membershipv1.RecordScreeningRequest{Name: name, Outcome: p.screened})
				expect(rt, err, "OK")
				if p.state == requested && m.automatic && m.qualifies(p) && (!m.screening || p.screened == membershipv1.Membership_SUITABLE) {
					if to, want := m.admit(); want == "OK" {
						m.enter(name, p, to)
					}
				}
			},
			"place": func(rt *rapid.T) {
				made, err := f.place(g, newReferral())
				to, want := m.admit()
				expect(rt, err, want)
				if err == nil {
					m.enter(made.GetName(), &place{survivor: true, placed: true}, to)
				}
			},
			"accept offer": func(rt *rapid.T) {
				name, p := pick(rt, offered)
				if p == nil {
					return
				}
				_, err := f.AcceptOffer(f.ctx(), &membershipv1.AcceptOfferRequest{Name: name})
				if !p.expires.After(m.now()) {
					expect(rt, err, "FailedPrecondition OFFER_EXPIRED")
					return
				}
				expect(rt, err, "OK")
				p.unanswered, p.state = 0, approved
				if p.been {
					p.state = active
				}
			},
			"decline offer": func(rt *rapid.T) {
				if name, p := pick(rt, offered); p != nil {
					_, err := f.DeclineOffer(f.ctx(), &membershipv1.DeclineOfferRequest{Name: name})
					expect(rt, err, "OK")
					m.leave(name, ended)
				}
			},
			"time passes": func(rt *rapid.T) {
				f.clock.Advance(time.Duration(rapid.IntRange(1, 60).Draw(rt, "hours")) * time.Hour)
				if rapid.Bool().Draw(rt, "the sweep runs") {
					sweep(rt)
				}
			},
			"decline": func(rt *rapid.T) {
				if name, p := pick(rt, requested, waitlisted, offered); p != nil {
					_, err := f.DeclineMembership(f.ctx(), &membershipv1.DeclineMembershipRequest{Name: name, Reason: 1})
					expect(rt, err, "OK")
					m.leave(name, declined)
				}
			},
			"acknowledge": func(rt *rapid.T) {
				if name, p := pick(rt, approved); p != nil {
					acknowledge(rt, name)
				}
			},
			"leave": func(rt *rapid.T) {
				if name, p := pick(rt, active); p != nil {
					leave(rt, name)
				}
			},
			"come back": func(rt *rapid.T) {
				if name, p := pick(rt, onLeave); p != nil {
					comeBack(rt, name)
				}
			},
			"end": func(rt *rapid.T) {
				if name, p := pick(rt, requested, waitlisted, offered, approved, active, onLeave); p != nil {
					_, err := f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: name, Reason: 1})
					expect(rt, err, "OK")
					m.leave(name, ended)
				}
			},
			"change group": func(rt *rapid.T) {
				if m.archived {
					return
				}
				draw(rt)
				m.accepting = rapid.IntRange(0, 3).Draw(rt, "accepting") > 0
				f.tellModel(g, m)
				m.settle()
			},
			"archive": func(rt *rapid.T) {
				if m.archived || rapid.IntRange(0, 19).Draw(rt, "really") > 0 {
					return
				}
				g.State, g.AcceptsIntake = groupsv1.Group_ARCHIVED, false
				f.tell(g)
				m.archived, m.accepting, m.queue = true, false, nil
				for _, name := range m.in(requested, waitlisted, offered, approved, active, onLeave) {
					m.people[name].state, m.people[name].freed = ended, false
				}
			},
			"": func(rt *rapid.T) { // after every step
				list, err := f.ListMemberships(f.ctx(), &membershipv1.ListMembershipsRequest{Group: g.GetGroup(), PageSize: 200})
				expect(rt, err, "OK")
				if len(list.GetMemberships()) != len(m.people) {
					rt.Fatalf("%d memberships, want %d", len(list.GetMemberships()), len(m.people))
				}
				for _, got := range list.GetMemberships() {
					p := m.people[got.GetName()]
					if got.GetState() != p.state || got.GetHoldsSeat() != p.seated() {
						rt.Fatalf("%s is %v, and holds a seat: %t; want %v, %t", got.GetName(), got.GetState(), got.GetHoldsSeat(), p.state, p.seated())
					}
					if want := int32(slices.Index(m.queue, got.GetName()) + 1); got.GetWaitlistPosition() != want {
						rt.Fatalf("%s waits at %d, want %d", got.GetName(), got.GetWaitlistPosition(), want)
					}
					if p.state == offered && !got.GetOfferExpireTime().AsTime().Equal(p.expires) {
						rt.Fatalf("%s is offered a seat until %v, want %v", got.GetName(), got.GetOfferExpireTime().AsTime(), p.expires)
					}
				}
				if s := f.seatsOf(g); int(s.Taken) != m.taken() || int(s.Waiting) != len(m.queue) {
					rt.Fatalf("%d taken and %d waiting, want %d and %d", s.Taken, s.Waiting, m.taken(), len(m.queue))
				}
			},
		})
	})
}
