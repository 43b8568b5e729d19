package gateway_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/gateway"
	"cairn.care/services/groups"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
	"cairn.care/services/referral"
	"cairn.care/services/scheduling"
)

// TestUnsubscribe opens the link beneath an e-mail, as scanners of mailboxes do, and then clicks.
func TestUnsubscribe(t *testing.T) {
	t.Parallel()
	s := suitetest.Start(t, []chassis.Component{
		groups.Component(), membership.Component(), partners.Component(), scheduling.Component(), referral.Component(), gateway.Component(),
	})
	owner := suitetest.Client(t.Context(), orgA, "groups.write", "members.write", "members.read")
	members := membershipv1.NewMembershipServiceClient(s.Conn("membership"))
	group, err := groupsv1.NewGroupsServiceClient(s.Conn("groups")).CreateGroup(owner, &groupsv1.CreateGroupRequest{Group: &groupsv1.Group{
		Title: "Walk and talk", Summary: "For people after cancer.", Languages: []string{"en"}, Kind: groupsv1.Group_PEER_SUPPORT,
		Facilitation: groupsv1.Group_PROFESSIONALLY_LED, Format: groupsv1.Group_ONLINE, CancerTypes: []string{"any"},
		Online: &groupsv1.Group_Online{Platform: "Zoom"}, TimeZone: "Europe/Berlin", SourceSystem: "test", ExternalId: "1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := groupsv1.NewGroupsServiceClient(s.Conn("groups")).PublishGroup(owner, &groupsv1.PublishGroupRequest{Name: group.GetName()}); err != nil {
		t.Fatal(err)
	}
	ada, err := members.CreateMember(owner, &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{
		Alias: "Ada", Role: membershipv1.Member_SURVIVOR, Email: "ada@example.org",
		Consents: []*membershipv1.Member_Consent{{Kind: membershipv1.Member_RECEIVE_MESSAGES, Version: "1"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	in, err := members.CreateMembership(owner, &membershipv1.CreateMembershipRequest{Group: group.GetName(), Member: ada.GetName()})
	if err != nil {
		t.Fatal(err)
	}
	written, err := membershipv1.NewRecipientsServiceClient(s.ConnAs("scheduling", "membership")).ListRecipients(auth.System(t.Context(), "scheduling"),
		&membershipv1.ListRecipientsRequest{Memberships: []string{in.GetName()}, Kind: membershipv1.Member_SESSION_REMINDERS})
	if err != nil || len(written.GetRecipients()) != 1 {
		t.Fatalf("recipients: %v, %v", written, err)
	}
	link := "http://" + s.HTTPAddr + "/unsubscribe/" + written.GetRecipients()[0].GetStopToken()
	ask := func(method, url, body, lang string) (int, http.Header, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Accept-Language", lang)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header, string(page)
	}
	muted := func() int {
		t.Helper()
		m, err := members.GetMember(owner, &membershipv1.GetMemberRequest{Name: ada.GetName()})
		if err != nil {
			t.Fatal(err)
		}
		return len(m.GetMutedMessages())
	}
	for lang, want := range map[string]string{
		"": "Stop them", "de-AT,en;q=0.5": "Nicht mehr schicken", "es-MX": "Dejar de recibirlos", "fr": "Ne plus les recevoir", "tr,;;": "Stop them",
	} {
		code, header, page := ask(http.MethodGet, link, "", lang)
		if code != http.StatusOK || !strings.Contains(page, want) || !strings.Contains(page, `<form method="post">`) {
			t.Errorf("GET in %q: %d, want a page with the button %q:\n%s", lang, code, want, page)
		}
		if v := header.Get("Cache-Control") + " " + header.Get("Referrer-Policy"); v != "no-store no-referrer" {
			t.Errorf("GET is answered with %q, want it kept nowhere", v)
		}
	}
	if code, _, _ := ask(http.MethodHead, link, "", ""); code != http.StatusOK {
		t.Errorf("HEAD: %d", code)
	}
	if n := muted(); n != 0 {
		t.Fatal("looking at the link has stopped messages")
	}
	for range 2 {
		code, _, page := ask(http.MethodPost, link, "List-Unsubscribe=One-Click", "de")
		if code != http.StatusOK || !strings.Contains(page, "Erinnerungen an Treffen") {
			t.Errorf("POST: %d, want it done:\n%s", code, page)
		}
	}
	if n := muted(); n != 1 {
		t.Errorf("%d kinds of message are stopped, want 1", n)
	}
	code, _, page := ask(http.MethodPost, link[:len(link)-3], "List-Unsubscribe=One-Click", "")
	if code != http.StatusNotFound || !strings.Contains(page, "not complete") {
		t.Errorf("POST of a broken link: %d:\n%s", code, page)
	}
	if code, header, _ := ask(http.MethodPut, link, "", ""); code != http.StatusMethodNotAllowed || header.Get("Allow") != "GET, POST" {
		t.Errorf("PUT: %d, Allow %q", code, header.Get("Allow"))
	}
}
