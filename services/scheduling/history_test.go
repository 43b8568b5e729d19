package scheduling

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/recurrence"
)

// said is what a simple model has of one answer.
type said struct {
	who   string
	state schedulingv1.Rsvp_State
	way   schedulingv1.Rsvp_Way
	turn  int // in the order in which people got into line
}

// meeting is what the model has of a session.
type meeting struct {
	name          string
	on            time.Time // the day by the series
	clock         string    // of the wall, HH:MM
	off           bool
	moved, own    bool // at a start, with seats of its own
	format        schedulingv1.Series_Format
	seats, online int32
	answers       map[string]*said
	start         time.Time
}

// history is the model beside the service.
type history struct {
	*fixture
	rand     *rand.Rand
	series   *schedulingv1.Series
	zone     *time.Location
	people   []string
	gone     map[string]bool
	meetings map[string]*meeting
	turns    int
	log      []string
}

func (m *meeting) limit(way schedulingv1.Rsvp_Way) int32 {
	if way == schedulingv1.Rsvp_ONLINE {
		return m.online
	}
	return m.seats
}

func (m *meeting) confirmed(way schedulingv1.Rsvp_Way) (n int32) {
	for _, a := range m.answers {
		if a.state == schedulingv1.Rsvp_CONFIRMED && a.way == way {
			n++
		}
	}
	return n
}

// settle has everybody come in a way that is offered, and gives free places to who waits, by turn.
func (m *meeting) settle() {
	var waiting []*said
	for _, a := range m.answers {
		only := map[schedulingv1.Series_Format]schedulingv1.Rsvp_Way{
			schedulingv1.Series_IN_PERSON: schedulingv1.Rsvp_IN_PERSON, schedulingv1.Series_ONLINE: schedulingv1.Rsvp_ONLINE,
		}[m.format]
		if only != 0 && a.way != only {
			if a.way = only; a.state == schedulingv1.Rsvp_CONFIRMED {
				a.state = schedulingv1.Rsvp_WAITLISTED
			}
		}
		if a.state == schedulingv1.Rsvp_WAITLISTED {
			waiting = append(waiting, a)
		}
	}
	if m.off {
		return
	}
	slices.SortFunc(waiting, func(a, b *said) int { return a.turn - b.turn })
	for _, a := range waiting {
		if limit := m.limit(a.way); limit == 0 || m.confirmed(a.way) < limit {
			a.state = schedulingv1.Rsvp_CONFIRMED
		}
	}
}

// take lets the model have an answer.
func (h *history) take(m *meeting, who string, answer schedulingv1.Rsvp_Answer, way schedulingv1.Rsvp_Way) {
	a := m.answers[who]
	if a == nil {
		a = &said{who: who}
		m.answers[who] = a
	}
	switch {
	case m.format == schedulingv1.Series_IN_PERSON:
		way = schedulingv1.Rsvp_IN_PERSON
	case m.format == schedulingv1.Series_ONLINE:
		way = schedulingv1.Rsvp_ONLINE
	case way == 0 && a.way != 0:
		way = a.way
	case way == 0:
		way = schedulingv1.Rsvp_IN_PERSON
	}
	before := *a
	a.way = way
	h.turns++
	switch answer {
	case no:
		a.state = schedulingv1.Rsvp_DECLINED
	case maybe:
		a.state = schedulingv1.Rsvp_TENTATIVE
	default:
		if keeps := before.way == way && (before.state == schedulingv1.Rsvp_CONFIRMED || before.state == schedulingv1.Rsvp_WAITLISTED); !keeps {
			a.state, a.turn = schedulingv1.Rsvp_WAITLISTED, h.turns
		}
	}
	m.settle()
}

// learn gives the model the sessions of the next weeks that it does not know yet.
func (h *history) learn() {
	h.t.Helper()
	now := h.Clock.Now()
	for _, s := range h.sessions("series = %q AND start_time > %q AND start_time < %q", h.series.GetName(), now.Format(time.RFC3339), now.AddDate(0, 0, 40).Format(time.RFC3339)) {
		if h.meetings[s.GetName()] != nil {
			continue
		}
		on, err := time.Parse("2006-01-02T15:04:05", s.GetOriginalLocalStart())
		if err != nil {
			h.t.Fatal(err)
		}
		h.meetings[s.GetName()] = &meeting{name: s.GetName(), on: on, clock: on.Format("15:04"), format: s.GetFormat(), seats: s.GetSeats(), online: s.GetOnlineSeats(),
			answers: map[string]*said{}, start: s.GetStartTime().AsTime()}
	}
}

// coming returns the meetings that the model knows and that have not begun, soonest first.
func (h *history) coming() (list []*meeting) {
	for _, m := range h.meetings {
		if m.start.After(h.Clock.Now()) {
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b *meeting) int { return strings.Compare(a.name, b.name) })
	return list
}

func (h *history) note(format string, a ...any) { h.log = append(h.log, fmt.Sprintf(format, a...)) }

// want fails unless a call ended as the model says: "" for well.
func (h *history) want(err error, reason string) {
	h.t.Helper()
	got := ""
	if err != nil {
		got = refused(err)
	}
	if got != reason && got != "FailedPrecondition "+reason {
		h.t.Fatalf("%v, want %q, after:\n%s", err, reason, strings.Join(h.log, "\n"))
	}
}

// step does one thing to both.
func (h *history) step() {
	h.t.Helper()
	list := h.coming()
	m := list[h.rand.IntN(len(list))]
	switch n := h.rand.IntN(100); {
	case n < 62:
		who := h.people[h.rand.IntN(len(h.people))]
		answer := []schedulingv1.Rsvp_Answer{yes, yes, yes, no, maybe}[h.rand.IntN(5)]
		way := schedulingv1.Rsvp_WAY_UNSPECIFIED
		if m.format == schedulingv1.Series_HYBRID {
			way = schedulingv1.Rsvp_Way(h.rand.IntN(3))
		}
		h.note("%s: %s says %s %s", m.name, who, answer, way)
		_, err := h.answer(h.owner, m.name, who, answer, way)
		switch {
		case h.gone[who]:
			if status.Code(err) != codes.NotFound { // membership knows nothing of these people
				h.t.Fatalf("who has left: %v", err)
			}
		case m.off:
			h.want(err, "SESSION_CANCELLED")
		default:
			h.want(err, "")
			h.take(m, who, answer, way)
		}
	case n < 70:
		seats, online := int32(h.rand.IntN(5)), int32(h.rand.IntN(4))
		h.note("%s: %d seats, %d online", m.name, seats, online)
		_, err := h.UpdateSession(h.owner, &schedulingv1.UpdateSessionRequest{Session: &schedulingv1.Session{Name: m.name, Seats: seats, OnlineSeats: online},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"seats", "online_seats"}}})
		if m.off {
			h.want(err, "SESSION_CANCELLED")
			return
		}
		h.want(err, "")
		m.seats, m.online, m.own = seats, online, true
		m.settle()
	case n < 75:
		format := []schedulingv1.Series_Format{schedulingv1.Series_IN_PERSON, schedulingv1.Series_ONLINE, schedulingv1.Series_HYBRID}[h.rand.IntN(3)]
		h.note("%s: %s", m.name, format)
		_, err := h.UpdateSession(h.owner, &schedulingv1.UpdateSessionRequest{Session: &schedulingv1.Session{Name: m.name, Format: format}})
		if m.off {
			h.want(err, "SESSION_CANCELLED")
			return
		}
		h.want(err, "")
		m.format = format
		m.settle()
	case n < 80:
		h.note("%s: cancelled", m.name)
		_, err := h.CancelSession(h.owner, &schedulingv1.CancelSessionRequest{Name: m.name, Reason: "Holiday"})
		if m.off {
			h.want(err, "SESSION_CANCELLED")
			return
		}
		h.want(err, "")
		m.off = true
	case n < 86:
		to := m.on.AddDate(0, 0, 1+h.rand.IntN(3)).Format("2006-01-02") + fmt.Sprintf("T%02d:30", h.rand.IntN(24)) // also into the gap
		h.note("%s: moved to %s", m.name, to)
		got, err := h.MoveSession(h.owner, &schedulingv1.MoveSessionRequest{Name: m.name, LocalStart: to})
		local, bad := recurrence.Local(to)
		if bad != nil {
			h.t.Fatal(bad)
		}
		at := recurrence.Instant(local, h.zone)
		if !at.After(h.Clock.Now()) {
			h.want(err, "InvalidArgument local_start")
			return
		}
		h.want(err, "")
		m.off, m.moved, m.start = false, true, at
		if !got.GetStartTime().AsTime().Equal(at) {
			h.t.Fatalf("moved to %v, want %v", got.GetStartTime().AsTime(), at)
		}
		m.settle()
	case n < 90:
		clock := fmt.Sprintf("%02d:15", 8+h.rand.IntN(12))
		h.note("the series: at %s", clock)
		local := h.series.GetLocalStart()[:11] + clock
		h.series = h.update(&schedulingv1.Series{Name: h.series.GetName(), LocalStart: local})
		for _, m := range h.coming() {
			old := m.clock
			m.clock = clock
			if at := m.scheduled(h.zone); !at.After(h.Clock.Now()) {
				m.clock = old // too late for this one
			} else if !m.moved && !m.off {
				m.start = at
			}
		}
	case n < 92 && len(h.gone) < len(h.people)-4:
		who := h.people[h.rand.IntN(len(h.people))]
		h.note("%s leaves the group", who)
		h.gone[who] = true
		h.leave(who)
		for _, m := range h.coming() {
			if a := m.answers[who]; a != nil {
				a.state = schedulingv1.Rsvp_DECLINED
				m.settle()
			}
		}
	default:
		days := h.rand.IntN(60)
		h.note("%d days pass", days)
		h.Clock.Advance(time.Duration(days)*24*time.Hour + 17*time.Minute)
		ctx, s := h.server()
		if err := s.extendAll(ctx); err != nil {
			h.t.Fatal(err)
		}
	}
	h.learn()
}

// scheduled is when the meeting starts by its series.
func (m *meeting) scheduled(zone *time.Location) time.Time {
	clock, err := time.Parse("15:04", m.clock)
	if err != nil {
		panic(err)
	}
	return recurrence.Instant(m.on.Truncate(24*time.Hour).Add(time.Duration(clock.Hour())*time.Hour+time.Duration(clock.Minute())*time.Minute), zone)
}

// leave has the service learn that a membership is over.
func (h *history) leave(membership string) {
	h.t.Helper()
	ctx, s := h.server()
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		row, err := lockAttendee(ctx, tx, selfID("memberships", membership))
		if err != nil {
			return err
		}
		row.Active, row.Revision = false, row.Revision+1
		return takeAttendee(ctx, tx, row, s.clock.Now())
	}); err != nil {
		h.t.Fatal(err)
	}
}

// compare fails unless the service has what the model has.
func (h *history) compare() {
	h.t.Helper()
	for _, m := range h.coming() {
		s := h.session(m.name)
		var got, want []string
		resp, err := h.rsvps().ListRsvps(h.owner, &schedulingv1.ListRsvpsRequest{Parent: m.name, PageSize: 200})
		if err != nil {
			h.t.Fatal(err)
		}
		for _, r := range resp.GetRsvps() {
			got = append(got, r.GetMembership()+" "+standing(r))
		}
		places := &schedulingv1.Session_Places{Confirmed: m.confirmed(schedulingv1.Rsvp_IN_PERSON), ConfirmedOnline: m.confirmed(schedulingv1.Rsvp_ONLINE)}
		for _, a := range m.answers {
			text := fmt.Sprintf("%s %s %s", a.who, a.state, a.way)
			switch a.state {
			case schedulingv1.Rsvp_WAITLISTED:
				position := 1
				for _, b := range m.answers {
					if b.state == a.state && b.way == a.way && b.turn < a.turn {
						position++
					}
				}
				text += fmt.Sprintf(" %d", position)
				if a.way == schedulingv1.Rsvp_ONLINE {
					places.WaitlistedOnline++
				} else {
					places.Waitlisted++
				}
			case schedulingv1.Rsvp_TENTATIVE:
				places.Tentative++
			case schedulingv1.Rsvp_DECLINED:
				places.Declined++
			}
			want = append(want, text)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || !proto.Equal(s.GetPlaces(), places) {
			h.t.Fatalf("%s: the service has\n%s\n%v\nthe model\n%s\n%v\nafter:\n%s", m.name, strings.Join(got, "\n"), s.GetPlaces(), strings.Join(want, "\n"), places, strings.Join(h.log, "\n"))
		}
		if at := s.GetStartTime().AsTime(); !at.Equal(m.start) || !m.moved && !m.off && !at.Equal(m.scheduled(h.zone)) || (s.GetState() == schedulingv1.Session_CANCELLED) != m.off {
			h.t.Fatalf("%s: %s at %v, the model has it at %v, off %t, after:\n%s", m.name, s.GetState(), at, m.start, m.off, strings.Join(h.log, "\n"))
		}
	}
}

// TestHistories lets random things happen through years and changes of daylight saving, and compares with a simple model all
// the way.
func TestHistories(t *testing.T) {
	t.Parallel()
	for i, zone := range []string{"Europe/Berlin", "America/Santiago", "Australia/Lord_Howe"} {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			in := f.weekly()
			in.TimeZone, in.Format, in.Seats, in.OnlineSeats = zone, schedulingv1.Series_HYBRID, 3, 2
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			location, err := recurrence.Zone(zone)
			if err != nil {
				t.Fatal(err)
			}
			h := &history{fixture: f, rand: rand.New(rand.NewPCG(seed, uint64(i))), series: f.create(in), zone: location,
				people: f.people(14), gone: map[string]bool{}, meetings: map[string]*meeting{}}
			h.learn()
			began := f.Clock.Now()
			for n := 1; n <= 200; n++ {
				h.step()
				if n%10 == 0 {
					h.compare()
				}
			}
			t.Logf("%d days passed, %d sessions", int(f.Clock.Now().Sub(began).Hours()/24), len(h.meetings))
		})
	}
}

// TestManyClients has people answer, leave and be given seats all at once; in the end nobody waits for a place that is free,
// nobody sits where there is none, and what was told is what is.
func TestManyClients(t *testing.T) {
	t.Parallel()
	const clients, each = 8, 40
	f := setup(t)
	in := f.weekly()
	in.Format, in.Seats, in.OnlineSeats = schedulingv1.Series_HYBRID, 4, 3
	list := f.sessions("series = %q", f.create(in).GetName())[1:4]
	people := f.people(24)
	h := &history{fixture: f}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(c)))
			for range each {
				x, who := list[r.IntN(len(list))].GetName(), people[r.IntN(len(people))]
				var err error
				switch n := r.IntN(20); {
				case n == 0 && c == 0:
					_, err = f.UpdateSeries(f.owner, &schedulingv1.UpdateSeriesRequest{Series: &schedulingv1.Series{Name: list[0].GetSeries(), Seats: 4 + int32(r.IntN(3))}})
				case n == 1 && c < 2:
					h.leave(people[c])
				case n < 17:
					_, err = f.answer(f.owner, x, who, yes, schedulingv1.Rsvp_Way(r.IntN(3)))
				default:
					_, err = f.answer(f.owner, x, who, no)
				}
				if err != nil && (who != people[0] && who != people[1] || status.Code(err) != codes.NotFound) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	// Fewer seats take nobody's place: with none but the first limit and more, it was never above the greatest.
	for _, x := range list {
		s := f.session(x.GetName())
		p := s.GetPlaces()
		if p.GetConfirmed() > 6 || p.GetConfirmedOnline() > 3 || p.GetWaitlisted() > 0 && p.GetConfirmed() < s.GetSeats() || p.GetWaitlistedOnline() > 0 && p.GetConfirmedOnline() < 3 {
			t.Errorf("%s with %d seats: %v", s.GetName(), s.GetSeats(), p)
		}
		resp, err := f.rsvps().ListRsvps(f.owner, &schedulingv1.ListRsvpsRequest{Parent: x.GetName(), PageSize: 200})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resp.GetRsvps() {
			if r.GetState() != schedulingv1.Rsvp_DECLINED && slices.Contains(people[:2], r.GetMembership()) {
				if gone := f.gone(r.GetMembership()); gone {
					t.Errorf("who has left is %s", r.GetState())
				}
			}
			var last schedulingv1.RsvpChanged
			var revision int64
			for _, kind := range []string{rsvpAnswered, rsvpPromoted, rsvpWaitlisted, rsvpReleased} {
				for _, e := range f.events(kind) {
					if e.Subject == r.GetName() && e.Revision > revision {
						revision = e.Revision
						f.decode(e, &last)
					}
				}
			}
			if last.GetState() != r.GetState() || fmt.Sprintf("%q", fmt.Sprint(revision)) != r.GetEtag() {
				t.Errorf("%s is %s at %s, told was %s at %d", r.GetName(), r.GetState(), r.GetEtag(), last.GetState(), revision)
			}
		}
	}
}

func (f *fixture) gone(membership string) (gone bool) {
	f.t.Helper()
	system := auth.System(f.t.Context(), service)
	if err := f.DBs[service].Tx(system, func(tx pgx.Tx) error {
		return tx.QueryRow(system, `SELECT NOT active FROM attendees WHERE membership_id = $1`, selfID("memberships", membership)).Scan(&gone)
	}); err != nil {
		f.t.Fatal(err)
	}
	return gone
}

func (f *fixture) decode(e event, into proto.Message) {
	f.t.Helper()
	if err := protojson.Unmarshal([]byte(e.Data), into); err != nil {
		f.t.Fatal(err)
	}
}
