package membership

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
)

// reachable is a member of the group who may be written to, changed by edit before she joins.
func (f *fixture) reachable(g *told, alias string, edit func(*membershipv1.Member)) *membershipv1.Membership {
	f.t.Helper()
	m := &membershipv1.Member{
		Alias: alias, Role: membershipv1.Member_SURVIVOR, Email: alias + "@example.org", Languages: []string{"es-MX", "en"}, TimeZone: "America/Mexico_City",
		QuietHours: &membershipv1.Member_QuietHours{Start: "22:00", End: "07:30"},
		Consents:   []*membershipv1.Member_Consent{{Kind: membershipv1.Member_RECEIVE_MESSAGES, Version: "1"}},
	}
	if edit != nil {
		edit(m)
	}
	made, err := f.CreateMember(f.ctx(), &membershipv1.CreateMemberRequest{Member: m})
	if err != nil {
		f.t.Fatalf("CreateMember: %v", err)
	}
	in, err := f.CreateMembership(f.ctx(), &membershipv1.CreateMembershipRequest{Group: g.GetGroup(), Member: made.GetName()})
	if err == nil {
		in, err = f.ApproveMembership(f.ctx(), &membershipv1.ApproveMembershipRequest{Name: in.GetName()})
	}
	if err == nil {
		in, err = f.AcknowledgeGuidelines(f.ctx(), &membershipv1.AcknowledgeGuidelinesRequest{Name: in.GetName(), Version: g.GetGuidelinesVersion()})
	}
	if err != nil {
		f.t.Fatalf("join: %v", err)
	}
	return in
}

func aliases(list []*membershipv1.ListRecipientsResponse_Recipient) (out []string) {
	for _, r := range list {
		out = append(out, r.GetAlias())
	}
	return out
}

func TestOnlyWhoMayBeWrittenToIsListed(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	wren := f.reachable(g, "wren", nil)
	f.reachable(g, "noaddress", func(m *membershipv1.Member) { m.Email = "" })
	f.reachable(g, "noconsent", func(m *membershipv1.Member) { m.Consents = nil })
	f.reachable(g, "nocontact", func(m *membershipv1.Member) { m.DoNotContact = true })
	f.reachable(g, "muted", func(m *membershipv1.Member) {
		m.MutedMessages = []membershipv1.Member_MessageKind{membershipv1.Member_SESSION_REMINDERS}
	})
	gone := f.reachable(g, "gone", nil)
	if _, err := f.EndMembership(f.ctx(), &membershipv1.EndMembershipRequest{Name: gone.GetName(), Reason: membershipv1.Membership_MOVED_ON}); err != nil {
		t.Fatal(err)
	}
	withdrawn := f.reachable(g, "withdrawn", nil)
	if _, err := f.WithdrawConsent(f.ctx(), &membershipv1.WithdrawConsentRequest{Name: withdrawn.GetMember(), Kind: membershipv1.Member_RECEIVE_MESSAGES}); err != nil {
		t.Fatal(err)
	}
	f.reachable(f.newGroup(0, false), "elsewhere", nil)

	ctx := auth.System(t.Context(), "scheduling")
	ask := func(req *membershipv1.ListRecipientsRequest) []*membershipv1.ListRecipientsResponse_Recipient {
		t.Helper()
		resp, err := f.ListRecipients(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetRecipients()
	}
	reminded := ask(&membershipv1.ListRecipientsRequest{Group: g.GetGroup(), Kind: membershipv1.Member_SESSION_REMINDERS})
	if got, want := aliases(reminded), []string{"wren"}; !slices.Equal(got, want) {
		t.Fatalf("reminded are %q, want %q", got, want)
	}
	if got, want := aliases(ask(&membershipv1.ListRecipientsRequest{Group: g.GetGroup(), Kind: membershipv1.Member_SESSION_CHANGES})), []string{"wren", "muted"}; !slices.Equal(got, want) {
		t.Errorf("told of changes are %q, want %q", got, want)
	}
	want := &membershipv1.ListRecipientsResponse_Recipient{
		Member: wren.GetMember(), Membership: wren.GetName(), Alias: "wren", Email: "wren@example.org", Languages: []string{"es-MX", "en"},
		TimeZone: "America/Mexico_City", QuietHours: &membershipv1.Member_QuietHours{Start: "22:00", End: "07:30"}, StopToken: reminded[0].GetStopToken(),
	}
	if !proto.Equal(reminded[0], want) {
		t.Errorf("got %v, want %v", reminded[0], want)
	}
	everybody := ask(&membershipv1.ListRecipientsRequest{Group: g.GetGroup()})
	if got, want := aliases(everybody), []string{"wren", "noaddress", "noconsent", "nocontact", "muted", "withdrawn"}; !slices.Equal(got, want) {
		t.Errorf("the active members are %q, want %q", got, want)
	}
	for _, r := range everybody {
		if r.GetEmail() != "" || r.GetStopToken() != "" {
			t.Errorf("%v comes with how to reach her, where nothing is to be sent", r)
		}
	}
	named := ask(&membershipv1.ListRecipientsRequest{
		Memberships: []string{gone.GetName(), wren.GetName(), aip.Name("memberships", aip.NewID())}, Kind: membershipv1.Member_SESSION_REMINDERS,
	})
	if got, want := aliases(named), []string{"wren", "gone"}; !slices.Equal(got, want) {
		t.Errorf("by membership %q, want %q", got, want)
	}
	if _, err := f.ListRecipients(ctx, &membershipv1.ListRecipientsRequest{}); fieldOf(err) != "group" {
		t.Errorf("asked for nobody: %v, want the field group", err)
	}
	others, err := f.ListRecipients(f.as(aip.NewID()), &membershipv1.ListRecipientsRequest{Group: g.GetGroup()})
	if err != nil || len(others.GetRecipients()) != 0 {
		t.Errorf("another organization sees %v, %v, want nobody", others, err)
	}
}

func TestRecipientsByPages(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	var want []string
	for _, alias := range []string{"a", "b", "c", "d", "e"} {
		edit := func(m *membershipv1.Member) { m.DoNotContact = alias == "b" }
		f.reachable(g, alias, edit)
		if alias != "b" {
			want = append(want, alias)
		}
	}
	var got []string
	req := &membershipv1.ListRecipientsRequest{Group: g.GetGroup(), Kind: membershipv1.Member_ANNOUNCEMENTS, PageSize: 2}
	for {
		resp, err := f.ListRecipients(f.ctx(), req)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, aliases(resp.GetRecipients())...)
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOneClickStopsOneKind(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	wren := f.reachable(g, "wren", nil)
	list := func(kind membershipv1.Member_MessageKind) []*membershipv1.ListRecipientsResponse_Recipient {
		t.Helper()
		resp, err := f.ListRecipients(f.ctx(), &membershipv1.ListRecipientsRequest{Group: g.GetGroup(), Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetRecipients()
	}
	token := list(membershipv1.Member_SESSION_REMINDERS)[0].GetStopToken()
	for range 2 { // mailboxes click more than once
		resp, err := f.StopMessages(t.Context(), &membershipv1.StopMessagesRequest{Token: token})
		if err != nil || resp.GetKind() != membershipv1.Member_SESSION_REMINDERS {
			t.Fatalf("StopMessages: %v, %v", resp, err)
		}
	}
	if n := len(list(membershipv1.Member_SESSION_REMINDERS)); n != 0 {
		t.Errorf("%d are still reminded, want none", n)
	}
	if n := len(list(membershipv1.Member_SESSION_CHANGES)); n != 1 {
		t.Errorf("%d are told of changes, want 1", n)
	}
	m, err := f.GetMember(f.ctx(), &membershipv1.GetMemberRequest{Name: wren.GetMember()})
	if err != nil || !slices.Equal(m.GetMutedMessages(), []membershipv1.Member_MessageKind{membershipv1.Member_SESSION_REMINDERS}) {
		t.Errorf("she does not want %v, %v, want reminders, once", m.GetMutedMessages(), err)
	}
	if _, err := f.UpdateMember(f.ctx(), &membershipv1.UpdateMemberRequest{
		Member: &membershipv1.Member{Name: wren.GetMember()}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"muted_messages"}},
	}); err != nil {
		t.Fatal(err)
	}
	if n := len(list(membershipv1.Member_SESSION_REMINDERS)); n != 1 {
		t.Errorf("%d are reminded after she changed her mind, want 1", n)
	}
	flipped := []byte(token)
	flipped[20] ^= 1
	for _, bad := range []string{string(flipped), token[:60], token + "A", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		if _, err := f.StopMessages(t.Context(), &membershipv1.StopMessagesRequest{Token: bad}); fieldOf(err) != "token" {
			t.Errorf("token %q: %v, want it refused", bad, err)
		}
	}
}

func TestTimeZoneMustBeOne(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, zone := range []string{"Mars/Olympus", "Local", "../etc/passwd"} {
		_, err := f.CreateMember(f.ctx(), &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{Alias: "Wren", Role: membershipv1.Member_SURVIVOR, TimeZone: zone}})
		if fieldOf(err) != "member.time_zone" {
			t.Errorf("%q: %v, want the field", zone, err)
		}
	}
}

func TestAMemberWhoCannotBeReadSilencesNobody(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g := f.newGroup(0, false)
	broken := f.reachable(g, "broken", nil)
	f.reachable(g, "wren", nil)
	system := auth.System(t.Context(), "test")
	if err := f.db.Tx(system, func(tx pgx.Tx) error {
		_, err := tx.Exec(system, `UPDATE members SET data_key = 'torn' WHERE id = $1`, strings.TrimPrefix(broken.GetMember(), "members/"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	got, err := f.ListRecipients(f.ctx(), &membershipv1.ListRecipientsRequest{Group: g.GetGroup(), Kind: membershipv1.Member_ANNOUNCEMENTS})
	if err != nil || !slices.Equal(aliases(got.GetRecipients()), []string{"wren"}) {
		t.Errorf("ListRecipients = %v, %v; want wren alone", aliases(got.GetRecipients()), err)
	}
}
