package partners

import (
	"context"
	"io"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/events"
	"cairn.care/services/internal/suitetest"
)

// teller is a component that tells events in the name of a service which is not there.
func teller(name string) chassis.Component {
	nothing := fstest.MapFS{"migrations/0001_init.sql": {Data: []byte("-- +goose Up\nSELECT 1;\n")}}
	return chassis.Component{Name: name, Migrations: nothing, Start: func(context.Context, *chassis.Host) error { return nil }}
}

// tell has a service tell something.
func (s *suite) tell(t testing.TB, service, kind, subject string, revision int64, data proto.Message) {
	t.Helper()
	ctx := auth.System(t.Context(), service)
	err := s.DBs[service].Tx(ctx, func(tx pgx.Tx) error {
		return events.Insert(ctx, tx, events.Event{Type: "care.cairn." + service + "." + kind + ".v1", Subject: subject, Revision: revision, Data: data})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// watcher reads a watch.
type watcher struct {
	t      testing.TB
	stream partnersv1.EventsService_WatchEventsClient
	cursor string
	held   []*partnersv1.Event
}

func (s *suite) watch(t testing.TB, ctx context.Context, req *partnersv1.WatchEventsRequest) *watcher {
	t.Helper()
	stream, err := partnersv1.NewEventsServiceClient(s.Conn(Name)).WatchEvents(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return &watcher{t: t, stream: stream}
}

// next returns the next event.
func (w *watcher) next() *partnersv1.Event {
	w.t.Helper()
	for len(w.held) == 0 {
		resp, err := w.stream.Recv()
		if err != nil {
			w.t.Fatalf("watch: %v", err)
		}
		w.held, w.cursor = resp.GetEvents(), resp.GetNextCursor()
	}
	e := w.held[0]
	w.held = w.held[1:]
	return e
}

const (
	hospital  = "organizations/0192d7a5-0000-7000-8000-00000000000a"
	nonprofit = "organizations/0192d7a5-0000-7000-8000-00000000000b"
	stranger  = "organizations/0192d7a5-0000-7000-8000-00000000000c"
)

func name(collection string) string { return aip.Name(collection, aip.NewID()) }

func sent(referral string) *referralv1.ReferralChanged {
	return &referralv1.ReferralChanged{
		Referral: referral, FromState: referralv1.Referral_DRAFT, State: referralv1.Referral_SENT, Organization: hospital, OwnerOrganization: nonprofit,
	}
}

// Whoever an event names sees it, in order, as it happens, and nobody else; a watch goes on where it was left.
func TestWatchEvents(t *testing.T) {
	t.Parallel()
	s := setupWith(t, teller("referral"))
	referral := name("referrals")
	of := func(org string) context.Context { return suitetest.Client(t.Context(), org, "referrals.read") }
	theirs := s.watch(t, of(nonprofit), &partnersv1.WatchEventsRequest{})
	if resp, err := theirs.stream.Recv(); err != nil || resp.GetNextCursor() == "" || len(resp.GetEvents()) > 0 {
		t.Fatalf("the first message is %v, %v; want a cursor at once", resp, err)
	}
	draft := sent(referral)
	draft.FromState, draft.State = referralv1.Referral_STATE_UNSPECIFIED, referralv1.Referral_DRAFT
	s.tell(t, "referral", "referral.created", referral, 1, draft)
	s.tell(t, "referral", "referral.sent", referral, 2, sent(referral))
	s.tell(t, "referral", "referral.accepted", referral, 3, sent(referral))

	got := theirs.next()
	if got.GetType() != "care.cairn.referral.referral.sent.v1" || got.GetSubject() != referral || got.GetRevision() != 2 ||
		got.GetSource() != "//cairn.care/referral" || got.GetData().GetFields()["state"].GetStringValue() != "SENT" || got.GetTime() == nil {
		t.Errorf("the receiver sees first %v, want that it was sent", got)
	}
	if e := theirs.next(); e.GetRevision() != 3 {
		t.Errorf("then %v, want revision 3", e)
	}
	ours := s.watch(t, of(hospital), &partnersv1.WatchEventsRequest{Types: []string{"care.cairn.referral.referral.*"}})
	for revision := range int64(3) {
		if e := ours.next(); e.GetRevision() != revision+1 {
			t.Errorf("the author sees %v, want revision %d", e, revision+1)
		}
	}
	// Again from an event's cursor, and from where the watch was left.
	if e := s.watch(t, of(nonprofit), &partnersv1.WatchEventsRequest{Cursor: got.GetCursor()}).next(); e.GetRevision() != 3 {
		t.Errorf("after the cursor of revision 2 comes %v", e)
	}
	again := s.watch(t, of(hospital), &partnersv1.WatchEventsRequest{Cursor: ours.cursor})
	s.tell(t, "referral", "referral.completed", referral, 4, sent(referral))
	if e := again.next(); e.GetRevision() != 4 {
		t.Errorf("after the end comes %v, want revision 4", e)
	}
	if e := s.watch(t, suitetest.Platform(t.Context(), "referrals.read"), &partnersv1.WatchEventsRequest{Types: []string{"care.cairn.referral.referral.completed.v1"}}).next(); e.GetRevision() != 4 {
		t.Errorf("the platform sees %v", e)
	}
	if resp := s.listEvents(t, of(stranger), &partnersv1.ListEventsRequest{}); len(resp.GetEvents()) > 0 {
		t.Errorf("a stranger sees %v", resp)
	}
}

func (s *suite) listEvents(t testing.TB, ctx context.Context, req *partnersv1.ListEventsRequest) *partnersv1.ListEventsResponse {
	t.Helper()
	resp, err := partnersv1.NewEventsServiceClient(s.Conn(Name)).ListEvents(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// What names a group only is seen by the group's owner, as the groups service has told or tells when asked.
func TestEventsOfGroupsAreTheirOwners(t *testing.T) {
	t.Parallel()
	s := setupWith(t, teller("groups"), teller("membership"))
	group := name("groups")
	s.tell(t, "groups", "group.created", group, 1, &groupsv1.GroupChanged{Group: group, Organization: nonprofit})
	ctx := suitetest.Client(t.Context(), nonprofit, "groups.read", "members.read")
	s.watch(t, ctx, &partnersv1.WatchEventsRequest{Types: []string{"care.cairn.groups.*"}}).next()
	s.tell(t, "membership", "seats.changed", group, 1, &membershipv1.SeatsChanged{Group: group, Seats: 8})
	if e := s.watch(t, ctx, &partnersv1.WatchEventsRequest{Types: []string{"care.cairn.membership.*"}}).next(); e.GetSubject() != group {
		t.Errorf("the owner sees %v, want the seats of %s", e, group)
	}
}

// What the members of a group say together is in nobody's log, not even the platform's.
func TestFeedbackIsNotLogged(t *testing.T) {
	t.Parallel()
	s := setupWith(t, teller("groups"), teller("membership"))
	group := name("groups")
	s.tell(t, "groups", "group.created", group, 1, &groupsv1.GroupChanged{Group: group, Organization: nonprofit})
	s.tell(t, "membership", "group.feedback_changed", group, 1, &membershipv1.FeedbackChanged{Group: group, Responses: 5, Helped: 3.5})
	s.tell(t, "membership", "seats.changed", group, 1, &membershipv1.SeatsChanged{Group: group, Seats: 8})
	for who, ctx := range map[string]context.Context{
		"the owner": suitetest.Client(t.Context(), nonprofit, "members.read"), "the platform": suitetest.Platform(t.Context(), "members.read"),
	} {
		if e := s.watch(t, ctx, &partnersv1.WatchEventsRequest{Types: []string{"care.cairn.membership.*"}}).next(); e.GetType() != "care.cairn.membership.seats.changed.v1" {
			t.Errorf("%s sees %v, want the seats alone", who, e)
		}
	}
}

// A caller sees the services that her token or role is for, and asks for no others.
func TestEventsFollowScopes(t *testing.T) {
	t.Parallel()
	s := setupWith(t, teller("referral"), teller("membership"))
	referral, member := name("referrals"), name("members")
	s.tell(t, "referral", "referral.sent", referral, 1, sent(referral))
	s.tell(t, "membership", "member.created", member, 1, &membershipv1.MemberChanged{Member: member, Organization: nonprofit})
	all := s.watch(t, suitetest.User(t.Context(), nonprofit, "COORDINATOR"), &partnersv1.WatchEventsRequest{})
	all.next()
	all.next()
	for who, tc := range map[string]struct {
		ctx  context.Context
		want []string
	}{
		"members":     {suitetest.Client(t.Context(), nonprofit, "members.write"), []string{member}},
		"referrals":   {suitetest.Client(t.Context(), nonprofit, "referrals.read", "groups.read"), []string{referral}},
		"an operator": {suitetest.User(t.Context(), nonprofit, "OPERATOR"), nil},
	} {
		var got []string
		for _, e := range s.listEvents(t, tc.ctx, &partnersv1.ListEventsRequest{}).GetEvents() {
			if e.GetSubject() == referral || e.GetSubject() == member {
				got = append(got, e.GetSubject())
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", who, got, tc.want)
		}
	}
	client := partnersv1.NewEventsServiceClient(s.Conn(Name))
	_, err := client.ListEvents(suitetest.Client(t.Context(), nonprofit, "groups.read"), &partnersv1.ListEventsRequest{Types: []string{"care.cairn.referral.*"}})
	if code, why := reason(err); code != codes.PermissionDenied || why != "MISSING_SCOPE" {
		t.Errorf("events of a service without its scope: %v", err)
	}
	for _, bad := range []string{"care.cairn.billing.*", "care.cairn", "care.cairn.referral.sent", "%", "care.cairn.*.v1"} {
		_, err := client.ListEvents(suitetest.Client(t.Context(), nonprofit, "groups.read"), &partnersv1.ListEventsRequest{Types: []string{bad}})
		if code, _ := reason(err); code != codes.InvalidArgument {
			t.Errorf("type %q: %v, want INVALID_ARGUMENT", bad, err)
		}
	}
}

// No event is passed over, whatever is committed late; pages hold what a watch does.
func TestListEventsMissesNothing(t *testing.T) {
	t.Parallel()
	s := setupWith(t, teller("referral"))
	ctx := suitetest.Client(t.Context(), hospital, "referrals.read")
	const n = 200
	seen := map[string]bool{}
	last := map[string]int64{}
	cursor := ""
	read := func() {
		for {
			resp := s.listEvents(t, ctx, &partnersv1.ListEventsRequest{Cursor: cursor, PageSize: 7})
			for _, e := range resp.GetEvents() {
				if seen[e.GetId()] || e.GetRevision() != last[e.GetSubject()]+1 {
					t.Fatalf("%v came twice or out of order", e)
				}
				seen[e.GetId()], last[e.GetSubject()] = true, e.GetRevision()
			}
			if cursor = resp.GetNextCursor(); !resp.GetHasMore() {
				return
			}
		}
	}
	subjects := []string{name("referrals"), name("referrals"), name("referrals"), name("referrals")}
	for i := range n {
		s.tell(t, "referral", "referral.sent", subjects[i%len(subjects)], int64(i/len(subjects))+1, sent(subjects[i%len(subjects)]))
		if i%20 == 0 {
			read()
		}
	}
	deadline := time.Now().Add(time.Minute)
	for len(seen) < n && time.Now().Before(deadline) {
		read()
	}
	if len(seen) != n {
		t.Errorf("%d events, want %d", len(seen), n)
	}
}

// Who has been away for too long, or comes with a cursor of another log, is told so; so is who asks for what was dropped.
func TestCursorExpires(t *testing.T) {
	t.Parallel()
	s := setupWith(t, teller("referral"))
	ctx := suitetest.Client(t.Context(), hospital, "referrals.read")
	client := partnersv1.NewEventsServiceClient(s.Conn(Name))
	referral := name("referrals")
	begin := s.Clock.Now()
	empty := s.listEvents(t, ctx, &partnersv1.ListEventsRequest{}).GetNextCursor()
	s.tell(t, "referral", "referral.sent", referral, 1, sent(referral))
	s.watch(t, ctx, &partnersv1.WatchEventsRequest{}).next()
	s.Clock.Advance(keepEvents - time.Hour)
	s.tell(t, "referral", "referral.accepted", referral, 2, sent(referral))
	s.watch(t, ctx, &partnersv1.WatchEventsRequest{StartTime: timestamppb.New(s.Clock.Now())}).next()
	s.Clock.Advance(2 * time.Hour)
	if err := (&service{db: s.DBs[Name], clock: s.Clock}).sweepEvents(auth.System(t.Context(), Name)); err != nil {
		t.Fatal(err)
	}
	kept := s.listEvents(t, ctx, &partnersv1.ListEventsRequest{})
	if len(kept.GetEvents()) != 1 || kept.GetEvents()[0].GetRevision() != 2 {
		t.Errorf("kept is %v, want revision 2", kept)
	}
	foreign, err := (&reader{cursor: eventCursor{Generation: 1, XID: 1 << 40}}).token()
	if err != nil {
		t.Fatal(err)
	}
	for what, req := range map[string]*partnersv1.ListEventsRequest{
		"a cursor from before": {Cursor: empty}, "a time from before": {StartTime: timestamppb.New(begin)}, "of another log": {Cursor: foreign},
	} {
		_, err := client.ListEvents(ctx, req)
		if code, why := reason(err); code != codes.OutOfRange || why != "CURSOR_EXPIRED" {
			t.Errorf("%s: %v, want CURSOR_EXPIRED", what, err)
		}
	}
	for what, req := range map[string]*partnersv1.ListEventsRequest{
		"no cursor": {Cursor: "AAAA"}, "both": {Cursor: empty, StartTime: timestamppb.New(begin)},
	} {
		if _, err := client.ListEvents(ctx, req); field(err) == "" {
			t.Errorf("%s: %v, want INVALID_ARGUMENT", what, err)
		}
	}
}

// After a restore, or when another server takes over, old cursors are of no use and nothing of the log is lost; who follows is told.
func TestLogOfAnotherServer(t *testing.T) {
	t.Parallel()
	s := setupWith(t, teller("referral"))
	ctx := suitetest.Client(t.Context(), hospital, "referrals.read")
	referral := name("referrals")
	s.tell(t, "referral", "referral.sent", referral, 1, sent(referral))
	w := s.watch(t, ctx, &partnersv1.WatchEventsRequest{})
	w.next()
	if _, err := s.DBs[Name].Exec(t.Context(), `UPDATE change_feed SET timeline = timeline + 1`); err != nil {
		t.Fatal(err)
	}
	s.tell(t, "referral", "referral.accepted", referral, 2, sent(referral))
	for {
		_, err := w.stream.Recv()
		if err == nil {
			continue
		}
		if code, why := reason(err); code != codes.OutOfRange || why != "CURSOR_EXPIRED" {
			t.Errorf("the watch ends with %v, want CURSOR_EXPIRED", err)
		}
		break
	}
	again := s.watch(t, ctx, &partnersv1.WatchEventsRequest{})
	for revision := range int64(2) {
		if e := again.next(); e.GetRevision() != revision+1 {
			t.Errorf("begun again comes %v, want revision %d", e, revision+1)
		}
	}
}

// An event that comes again, because its stream is read again from the start, is logged once.
func TestReplayedEventsAreLoggedOnce(t *testing.T) {
	t.Parallel()
	s := setupWith(t, teller("referral"))
	ctx := suitetest.Client(t.Context(), hospital, "referrals.read")
	referral := name("referrals")
	s.tell(t, "referral", "referral.sent", referral, 1, sent(referral))
	w := s.watch(t, ctx, &partnersv1.WatchEventsRequest{})
	w.next()
	if err := events.Replay(t.Context(), s.DBs[Name], "partners-log-referral"); err != nil {
		t.Fatal(err)
	}
	s.tell(t, "referral", "referral.accepted", referral, 2, sent(referral))
	if e := w.next(); e.GetRevision() != 2 {
		t.Errorf("after a replay comes %v, want revision 2", e)
	}
}

// A watch ends as all streams do.
func TestWatchEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	s := setupWith(t)
	ctx, cancel := context.WithCancel(suitetest.Client(t.Context(), hospital, "referrals.read"))
	w := s.watch(t, ctx, &partnersv1.WatchEventsRequest{})
	if _, err := w.stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := w.stream.Recv(); err == nil || err == io.EOF { //nolint:errorlint // io.EOF is never wrapped here
		t.Errorf("after the caller has left: %v", err)
	}
}

// What an event says of organizations is all that decides who sees it.
func TestAudience(t *testing.T) {
	t.Parallel()
	s := &service{}
	org, owner := uuid.New(), uuid.New()
	for data, want := range map[string][]uuid.UUID{
		`{}`: nil,
		`{"organization": "organizations/` + org.String() + `"}`:                                                                                                          {org},
		`{"organization": "organizations/` + org.String() + `", "ownerOrganization": "organizations/` + owner.String() + `", "state": "DRAFT"}`:                           {org},
		`{"organization": "organizations/` + org.String() + `", "ownerOrganization": "organizations/` + owner.String() + `", "fromState": "DRAFT", "state": "CANCELLED"}`: {org},
		`{"organization": "organizations/` + org.String() + `", "ownerOrganization": "organizations/` + owner.String() + `", "fromState": "DRAFT", "state": "SENT"}`:      {org, owner},
		`{"organization": "organizations/` + org.String() + `", "ownerOrganization": "organizations/` + owner.String() + `", "fromState": "SENT", "state": "CANCELLED"}`:  {org, owner},
		`{"organization": "organizations/` + org.String() + `", "ownerOrganization": "organizations/` + org.String() + `", "fromState": "SENT", "state": "ACCEPTED"}`:     {org},
	} {
		e, err := events.Event{Type: "care.cairn.referral.referral.x.v1", Subject: "referrals/1", Data: rawStruct(t, data)}.Received()
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.audience(t.Context(), "referral", e)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s is seen by %v, %v; want %v", data, got, err, want)
		}
	}
}

func rawStruct(t testing.TB, data string) *structpb.Struct {
	t.Helper()
	m := new(structpb.Struct)
	if err := protojson.Unmarshal([]byte(data), m); err != nil {
		t.Fatal(err)
	}
	return m
}
