package membership

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/mail"
)

// memberCalls and facilitatorCalls are the contexts in which people call for themselves.
func (f *fixture) memberCalls(m *membershipv1.Membership) context.Context {
	return auth.WithSelf(f.ctx(), auth.Self{Member: m.GetMember()})
}

func (f *fixture) facilitatorCalls(name string) context.Context {
	return auth.WithSelf(f.ctx(), auth.Self{Facilitator: name})
}

// led is a group with a facilitator who leads it.
func (f *fixture) led(seats int32) (*told, string) {
	g := f.newGroup(seats, true)
	lead := aip.Name("facilitators", aip.NewID())
	g.Title = "Walking on"
	g.Facilitators = []*groupsv1.Group_FacilitatorRole{{Facilitator: lead, Role: groupsv1.Group_FacilitatorRole_LEAD}}
	f.tell(g)
	return g, lead
}

func TestListMyGroups(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g, lead := f.led(0)
	other := f.newGroup(0, true)
	in := f.joinActively(g)
	f.joinActively(g)
	asked, err := f.CreateMembership(f.ctx(), &membershipv1.CreateMembershipRequest{Group: other.GetGroup(), Member: in.GetMember()})
	if err != nil {
		t.Fatal(err)
	}
	list := func(ctx context.Context, person string) map[string]*membershipv1.MyGroup {
		t.Helper()
		found, token := map[string]*membershipv1.MyGroup{}, ""
		for range 10 {
			resp, err := f.ListMyGroups(ctx, &membershipv1.ListMyGroupsRequest{Person: person, PageSize: 1, PageToken: token})
			if err != nil {
				t.Fatalf("ListMyGroups(%q): %v", person, err)
			}
			for _, g := range resp.GetGroups() {
				found[g.GetGroup()] = g
			}
			if token = resp.GetNextPageToken(); token == "" {
				return found
			}
		}
		t.Fatal("the pages do not end")
		return nil
	}
	mine := list(f.memberCalls(in), "")
	if got := mine[g.GetGroup()]; len(mine) != 2 || got.GetMembership().GetName() != in.GetName() || got.GetPeople() != 2 || got.GetTitle() != "Walking on" || got.GetGuidelinesVersion() != 1 {
		t.Errorf("a member's groups: %v", mine)
	}
	if got := mine[other.GetGroup()]; got.GetMembership().GetName() != asked.GetName() || got.GetPeople() != 0 {
		t.Errorf("a group that she has only asked to join tells how many are in it: %v", got)
	}
	if got := list(f.ctx(), in.GetMember()); len(got) != 2 {
		t.Errorf("the organization's app sees %v of her groups", got)
	}
	leads := list(f.facilitatorCalls(lead), lead)
	if got := leads[g.GetGroup()]; len(leads) != 1 || got.GetLeadRole() != groupsv1.Group_FacilitatorRole_LEAD || got.GetMembership() != nil || got.GetPeople() != 2 {
		t.Errorf("a facilitator's groups: %v", leads)
	}
	if got := list(f.ctx(), aip.Name("facilitators", aip.NewID())); len(got) != 0 {
		t.Errorf("a facilitator that leads nothing has %v", got)
	}
	unknown := aip.Name("members", aip.NewID())
	for who, call := range map[string]struct {
		ctx    context.Context
		person string
	}{
		"another organization": {f.as(aip.NewID()), in.GetMember()}, "nobody's member": {f.ctx(), unknown},
	} {
		if _, err := f.ListMyGroups(call.ctx, &membershipv1.ListMyGroupsRequest{Person: call.person}); reasonOf(err) != "NotFound NOT_FOUND" {
			t.Errorf("%s lists groups: %v", who, err)
		}
		p, err := personOf(call.ctx, call.person)
		if err != nil {
			t.Fatal(err)
		}
		if err := (&newsFeed{server: f.server, person: p}).open(call.ctx, ""); reasonOf(err) != "NotFound NOT_FOUND" {
			t.Errorf("%s watches groups: %v", who, err)
		}
	}
	if _, err := f.ListMyGroups(f.memberCalls(in), &membershipv1.ListMyGroupsRequest{Person: f.newMember().GetName()}); reasonOf(err) != "NotFound NOT_FOUND" {
		t.Errorf("somebody else's groups: %v", err)
	}
	if _, err := f.ListMyGroups(f.ctx(), &membershipv1.ListMyGroupsRequest{}); fieldOf(err) != "person" {
		t.Errorf("nobody's groups: %v", err)
	}
}

func TestRoster(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g, lead := f.led(0)
	contact := func(m *membershipv1.Membership, consent bool) {
		t.Helper()
		if _, err := f.UpdateMember(f.ctx(), &membershipv1.UpdateMemberRequest{Member: &membershipv1.Member{
			Name: m.GetMember(), Email: "wren@example.org", Phone: "+14155550100", LegalName: "Maria Secret",
		}}); err != nil {
			t.Fatal(err)
		}
		if !consent {
			return
		}
		if _, err := f.GrantConsent(f.ctx(), &membershipv1.GrantConsentRequest{Name: m.GetMember(), Kind: membershipv1.Member_SHARE_CONTACT, Version: "1"}); err != nil {
			t.Fatal(err)
		}
	}
	shares, silent, new := f.joinActively(g), f.joinActively(g), f.join(g)
	contact(shares, true)
	contact(silent, false)
	f.requestPlace(g)
	roster := func(ctx context.Context) string {
		t.Helper()
		var got []string
		token := ""
		for more := true; more; more = token != "" {
			resp, err := f.ListRoster(ctx, &membershipv1.ListRosterRequest{Group: g.GetGroup(), PageSize: 2, PageToken: token})
			if err != nil {
				return reasonOf(err)
			}
			if len(resp.GetFacilitators()) != 1 || resp.GetFacilitators()[0].GetFacilitator() != lead {
				t.Errorf("facilitators: %v", resp.GetFacilitators())
			}
			for _, e := range resp.GetEntries() {
				got = append(got, fmt.Sprint(e.GetMembership() == shares.GetName(), " ", e.GetState(), " ", e.GetEmail(), e.GetPhone()))
			}
			token = resp.GetNextPageToken()
		}
		return strings.Join(got, "; ")
	}
	const two = "true ACTIVE wren@example.org+14155550100; false ACTIVE "
	for name, tt := range map[string]struct {
		ctx  context.Context
		want string
	}{
		"a member":                    {f.memberCalls(silent), two},
		"who leads":                   {f.facilitatorCalls(lead), two + "; false APPROVED_PENDING_GUIDELINES "},
		"the organization":            {f.ctx(), two + "; false APPROVED_PENDING_GUIDELINES "},
		"one who is not in yet":       {f.memberCalls(new), "NotFound NOT_FOUND"},
		"a facilitator who leads not": {f.facilitatorCalls(aip.Name("facilitators", aip.NewID())), "NotFound NOT_FOUND"},
		"another organization":        {f.as(aip.NewID()), "NotFound NOT_FOUND"},
	} {
		if got := roster(tt.ctx); tt.want != got && !strings.HasPrefix(tt.want, "NotFound") || strings.HasPrefix(tt.want, "NotFound") && got != tt.want && got != "Unavailable UNAVAILABLE" {
			t.Errorf("%s sees %q; want %q", name, got, tt.want)
		}
	}
	if _, err := f.WithdrawConsent(f.ctx(), &membershipv1.WithdrawConsentRequest{Name: shares.GetMember(), Kind: membershipv1.Member_SHARE_CONTACT}); err != nil {
		t.Fatal(err)
	}
	if got := roster(f.memberCalls(silent)); strings.Contains(got, "wren@") {
		t.Errorf("a withdrawn consent still shows %q", got)
	}
}

func TestAnnouncements(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g, lead := f.led(0)
	member, outsider := f.joinActively(g), f.join(f.newGroup(0, false))
	say := func(ctx context.Context, a *membershipv1.Announcement) (*membershipv1.Announcement, error) {
		return f.CreateAnnouncement(ctx, &membershipv1.CreateAnnouncementRequest{Parent: g.GetGroup(), Announcement: a})
	}
	good := func() *membershipv1.Announcement {
		return &membershipv1.Announcement{Title: "Rain", Text: "We meet indoors on Thursday."}
	}
	first, err := say(f.facilitatorCalls(lead), good())
	if err != nil || first.GetAuthor() != lead || first.GetText() != good().GetText() {
		t.Fatalf("a facilitator's: %v, %v", first, err)
	}
	soon := good()
	soon.ExpireTime = timestamppb.New(f.clock.Now().Add(time.Hour))
	if _, err := say(f.ctx(), soon); err != nil {
		t.Fatalf("the organization's: %v", err)
	}
	for name, tt := range map[string]struct {
		ctx       context.Context
		a         *membershipv1.Announcement
		want, alt string
	}{
		"a member's":                 {f.memberCalls(member), good(), "PermissionDenied NOT_A_LEADER", ""},
		"an outsider's":              {f.memberCalls(outsider), good(), "NotFound NOT_FOUND", ""},
		"another facilitator's":      {f.facilitatorCalls(aip.Name("facilitators", aip.NewID())), good(), "NotFound NOT_FOUND", ""},
		"another organization's":     {f.as(aip.NewID()), good(), "NotFound NOT_FOUND", "Unavailable"},
		"one without a title":        {f.ctx(), &membershipv1.Announcement{Title: " ", Text: "x"}, "announcement.title", ""},
		"one without a text":         {f.ctx(), &membershipv1.Announcement{Title: "x"}, "announcement.text", ""},
		"one that is over before it": {f.ctx(), &membershipv1.Announcement{Title: "x", Text: "x", ExpireTime: timestamppb.New(f.clock.Now())}, "announcement.expire_time", ""},
	} {
		_, err := say(tt.ctx, tt.a)
		if got := reasonOf(err); got != tt.want && fieldOf(err) != tt.want && (tt.alt == "" || !strings.HasPrefix(got, tt.alt)) {
			t.Errorf("%s: %v; want %s", name, err, tt.want)
		}
	}
	list := func(ctx context.Context) int {
		t.Helper()
		resp, err := f.ListAnnouncements(ctx, &membershipv1.ListAnnouncementsRequest{Parent: g.GetGroup()})
		if err != nil {
			t.Fatalf("ListAnnouncements: %v", err)
		}
		return len(resp.GetAnnouncements())
	}
	if n := list(f.memberCalls(member)); n != 2 {
		t.Errorf("a member sees %d announcements, want 2", n)
	}
	f.clock.Advance(time.Hour)
	if n := list(f.memberCalls(member)); n != 1 {
		t.Errorf("a member sees %d announcements once one has expired, want 1", n)
	}
	if got, err := f.GetAnnouncement(f.memberCalls(member), &membershipv1.GetAnnouncementRequest{Name: first.GetName()}); err != nil || !proto.Equal(got, first) {
		t.Errorf("GetAnnouncement: %v, %v; want %v", got, err, first)
	}
	if _, err := f.GetAnnouncement(f.memberCalls(outsider), &membershipv1.GetAnnouncementRequest{Name: first.GetName()}); reasonOf(err) != "NotFound NOT_FOUND" {
		t.Errorf("an outsider reads it: %v", err)
	}
	if _, err := f.DeleteAnnouncement(f.memberCalls(member), &membershipv1.DeleteAnnouncementRequest{Name: first.GetName()}); reasonOf(err) != "PermissionDenied NOT_A_LEADER" {
		t.Errorf("a member takes it back: %v", err)
	}
	if _, err := f.DeleteAnnouncement(f.facilitatorCalls(lead), &membershipv1.DeleteAnnouncementRequest{Name: first.GetName()}); err != nil {
		t.Fatal(err)
	}
	if n := list(f.memberCalls(member)); n != 0 {
		t.Errorf("a member sees %d announcements once it was taken back", n)
	}
	if _, err := f.GetAnnouncement(f.ctx(), &membershipv1.GetAnnouncementRequest{Name: first.GetName()}); reasonOf(err) != "NotFound NOT_FOUND" {
		t.Errorf("what was taken back is read: %v", err)
	}
	g.State = groupsv1.Group_ARCHIVED
	f.tell(g)
	if _, err := say(f.facilitatorCalls(lead), good()); reasonOf(err) != "FailedPrecondition GROUP_ARCHIVED" {
		t.Errorf("to an archived group: %v", err)
	}
}

func TestAnnouncementsByMail(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.mail, f.publicURL = mail.NewOutbox("membership", f.keys, f.clock), "https://cairn.example"
	g, lead := f.led(0)
	reads := func(languages []string, consents ...membershipv1.Member_ConsentKind) *membershipv1.Membership {
		t.Helper()
		m := f.joinActively(g)
		if _, err := f.UpdateMember(f.ctx(), &membershipv1.UpdateMemberRequest{Member: &membershipv1.Member{Name: m.GetMember(), Email: "wren@example.org", Languages: languages}}); err != nil {
			t.Fatal(err)
		}
		for _, c := range consents {
			if _, err := f.GrantConsent(f.ctx(), &membershipv1.GrantConsentRequest{Name: m.GetMember(), Kind: c, Version: "1"}); err != nil {
				t.Fatal(err)
			}
		}
		return m
	}
	reads([]string{"de"}, membershipv1.Member_RECEIVE_MESSAGES)
	reads(nil) // has not consented
	reads([]string{"es-MX"}, membershipv1.Member_RECEIVE_MESSAGES)
	a, err := f.CreateAnnouncement(f.facilitatorCalls(lead), &membershipv1.CreateAnnouncementRequest{Parent: g.GetGroup(), Announcement: &membershipv1.Announcement{
		Title: "Rain", Text: "Indoors.", Delivery: membershipv1.Announcement_APP_AND_EMAIL,
	}})
	if err != nil {
		t.Fatal(err)
	}
	f.clock.Advance(time.Second)
	reads([]string{"fr"}, membershipv1.Member_RECEIVE_MESSAGES) // came after it was said
	system := auth.System(t.Context(), service)
	for more, looks := true, 0; more; looks++ {
		if more, err = f.mailAnnouncement(system); err != nil || looks > 10 {
			t.Fatalf("look %d: %v", looks, err)
		}
	}
	queued := func() (waiting, all int) {
		t.Helper()
		if err := f.db.Tx(system, func(tx pgx.Tx) error {
			return tx.QueryRow(system, `SELECT count(*) FILTER (WHERE next_time IS NOT NULL), count(*) FROM mail WHERE about = $1`, a.GetName()).Scan(&waiting, &all)
		}); err != nil {
			t.Fatal(err)
		}
		return waiting, all
	}
	if waiting, _ := queued(); waiting != 2 {
		t.Errorf("%d e-mails are queued, want 2: to those who were in the group and allow it", waiting)
	}
	if got, err := f.GetAnnouncement(f.ctx(), &membershipv1.GetAnnouncementRequest{Name: a.GetName()}); err != nil || got.GetEmails() != 2 {
		t.Errorf("it says %d e-mails, %v; want 2", got.GetEmails(), err)
	}
	if _, err := f.DeleteAnnouncement(f.ctx(), &membershipv1.DeleteAnnouncementRequest{Name: a.GetName()}); err != nil {
		t.Fatal(err)
	}
	if waiting, all := queued(); waiting != 0 || all != 2 {
		t.Errorf("%d of %d e-mails are still to be sent once it was taken back", waiting, all)
	}
}

// watcher is what an app does with WatchMyGroups.
type watcher struct {
	t   testing.TB
	ctx context.Context
	n   *newsFeed
}

func (f *fixture) watch(ctx context.Context, token string) *watcher {
	f.t.Helper()
	f.settled() // what was done before is not news
	p, err := personOf(ctx, "")
	if err != nil {
		f.t.Fatal(err)
	}
	w := &watcher{f.t, ctx, &newsFeed{server: f.server, person: p}}
	if err := w.n.open(ctx, token); err != nil {
		f.t.Fatalf("open: %v", err)
	}
	return w
}

// settled returns when no transaction runs that could keep the feed back; others on the same server do so too.
func (f *fixture) settled() {
	f.t.Helper()
	system := f.system()
	var now uint64
	if err := f.db.QueryRow(system, `SELECT pg_snapshot_xmax(pg_current_snapshot())`).Scan(&now); err != nil {
		f.t.Fatal(err)
	}
	for passed := false; !passed; {
		if err := f.db.QueryRow(system, `SELECT pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8`, fmt.Sprint(now)).Scan(&passed); err != nil {
			f.t.Fatal(err)
		}
	}
}

// news returns the kinds of what is new.
func (w *watcher) news() string {
	w.t.Helper()
	var got []string
	for more := true; more; {
		var list []*membershipv1.GroupNews
		var err error
		if list, more, err = w.n.next(w.ctx); err != nil {
			w.t.Fatalf("next: %v", err)
		}
		for _, m := range list {
			what := m.GetKind().String()
			if m.GetMembership() != nil {
				what += " " + m.GetMembership().GetState().String()
			}
			got = append(got, what)
		}
	}
	return strings.Join(got, ", ")
}

func TestWatchMyGroups(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g, lead := f.led(0)
	ana := f.requestPlace(g)
	f.settled() // what was before is no news
	member, leader, elsewhere := f.watch(f.memberCalls(ana), ""), f.watch(f.facilitatorCalls(lead), ""), f.watch(f.memberCalls(f.joinActively(f.newGroup(0, false))), "")
	expect := func(when, ofMember, ofLeader string) {
		t.Helper()
		f.settled()
		if got := member.news(); got != ofMember {
			t.Errorf("%s: the member is told %q; want %q", when, got, ofMember)
		}
		if got := leader.news(); got != ofLeader {
			t.Errorf("%s: the facilitator is told %q; want %q", when, got, ofLeader)
		}
		if got := elsewhere.news(); got != "" {
			t.Errorf("%s: the member of another group is told %q", when, got)
		}
	}
	expect("nothing", "", "")
	other := f.joinActively(g)
	expect("another joins a group that she is not in yet", "", "MEMBERSHIP ACTIVE, ROSTER")
	if _, err := f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: ana.GetName()}); err != nil {
		t.Fatal(err)
	}
	expect("approved", "MEMBERSHIP APPROVED_PENDING_GUIDELINES, ROSTER", "MEMBERSHIP APPROVED_PENDING_GUIDELINES, ROSTER")
	if _, err := f.AcknowledgeGuidelines(f.ctx(), &membershipv1.AcknowledgeGuidelinesRequest{Name: ana.GetName(), Version: 1}); err != nil {
		t.Fatal(err)
	}
	expect("active", "MEMBERSHIP ACTIVE, ROSTER", "MEMBERSHIP ACTIVE, ROSTER")
	if _, err := f.StartLeave(f.ctx(), &membershipv1.StartLeaveRequest{Name: other.GetName()}); err != nil {
		t.Fatal(err)
	}
	expect("another goes on leave", "ROSTER", "MEMBERSHIP ON_LEAVE, ROSTER")
	a, err := f.CreateAnnouncement(f.ctx(), &membershipv1.CreateAnnouncementRequest{Parent: g.GetGroup(), Announcement: &membershipv1.Announcement{Title: "x", Text: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	expect("an announcement", "ANNOUNCEMENT", "ANNOUNCEMENT")
	if _, err := f.DeleteAnnouncement(f.ctx(), &membershipv1.DeleteAnnouncementRequest{Name: a.GetName()}); err != nil {
		t.Fatal(err)
	}
	expect("taken back", "ANNOUNCEMENT_REMOVED", "ANNOUNCEMENT_REMOVED")
	g.Title = "Walking further"
	f.tell(g)
	expect("the group has another title", "GROUP", "GROUP")

	token, err := member.n.token()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: ana.GetName(), Reason: membershipv1.Membership_MOVED_ON}); err != nil {
		t.Fatal(err)
	}
	member = f.watch(f.memberCalls(ana), token)
	expect("she has left, and goes on from her token", "MEMBERSHIP ENDED, ROSTER", "MEMBERSHIP ENDED, ROSTER")
	f.joinActively(g)
	expect("what comes after is not hers", "", "MEMBERSHIP ACTIVE, ROSTER")
	w := &newsFeed{server: f.server, person: elsewhere.n.person}
	if err := w.open(elsewhere.ctx, token); fieldOf(err) != "sync_token" {
		t.Errorf("another's token: %v; want INVALID_ARGUMENT on sync_token", err)
	}
}

// TestWatchMissesNothingCommittedLate commits a change after one that began later has been told.
func TestWatchMissesNothingCommittedLate(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g, lead := f.led(0)
	w := f.watch(f.facilitatorCalls(lead), "")
	system := auth.System(t.Context(), service)
	late := make(chan struct{})
	begun, done := make(chan struct{}), make(chan error)
	go func() {
		done <- f.db.Tx(system, func(tx pgx.Tx) error {
			_, err := tx.Exec(system, `UPDATE group_seats SET group_revision = group_revision + 1 WHERE group_id = $1`, strings.TrimPrefix(g.GetGroup(), "groups/"))
			close(begun)
			<-late
			return err
		})
	}()
	<-begun
	f.led(0) // commits meanwhile
	if got := w.news(); got != "" {
		t.Errorf("told %q below a transaction that still runs", got)
	}
	close(late)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	f.settled()
	if got := w.news(); got != "GROUP" {
		t.Errorf("told %q of what was committed late; want GROUP", got)
	}
}
