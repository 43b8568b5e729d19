package e2e_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	policyv1 "cairn.care/gen/cairn/policy/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/internal/suitetest"
)

// holdings are an organization's resources, by collection.
type holdings map[string][]string

// settle gives a nonprofit one of everything, with a referral from a hospital of its own. The
// first of each kind is what its own calls are made with.
func (w *world) settle(t *testing.T, c *caller) holdings {
	t.Helper()
	hospital := w.organization(t, "HOSPITAL", "St. Anna", everything...)
	begun := func(group string) *reply {
		return c.post(t, "/v1/series", obj{
			"group": group, "rrule": "FREQ=WEEKLY", "timeZone": "UTC", "duration": "3600s",
			"localStart": w.now().UTC().Add(-10 * time.Minute).Format("2006-01-02T15:04:05"),
		}).ok(t)
	}
	group := c.post(t, "/v1/groups", circle()).ok(t).text("name")
	series := begun(group)
	c.post(t, "/v1/"+group+":publish", obj{}).ok(t)
	draft := c.post(t, "/v1/groups", circle()).ok(t).text("name")
	deleted := c.post(t, "/v1/groups", circle()).ok(t).text("name")
	c.do(t, http.MethodDelete, "/v1/"+deleted, nil).ok(t)
	sent, accepted := hospital.refer(t, group), hospital.refer(t, group)
	unsent := c.post(t, "/v1/referrals?draft=true", w.person(group)).ok(t).text("name") // its own
	danger := w.person(group)
	danger["selfHarmRisk"] = true
	own := c.post(t, "/v1/referrals", danger).ok(t)
	cancelled := c.post(t, "/v1/referrals", w.person(group)).ok(t).text("name")
	c.post(t, "/v1/"+cancelled+":cancel", obj{}).ok(t)
	membership := c.accept(t, accepted)
	w.agree(t, membership)
	lead := c.post(t, "/v1/facilitators", obj{"displayName": "Ana", "licence": obj{"profession": "p", "number": "n", "jurisdiction": "US", "expireDate": obj{"year": 2040, "month": 1, "day": 1}}}).ok(t)
	exercise := c.post(t, "/v1/resources", obj{"kind": "EXERCISE", "title": "Breathing", "languages": list{"en"}, "cancerTypes": list{"any"}}).ok(t)
	feed := c.post(t, "/v1/feeds", obj{"format": "csv", "sourceSystem": "office"}).ok(t).text("name")
	run := c.take(t, feed, heading+row("a", "Coro de "+c.id, "8")+row("b", "Coro de "+c.id, "8")).text("name")
	pair := until(t, "the two of the feed look like one group", func() *reply { return c.get(t, "/v1/duplicates?filter="+q(`state = PROPOSED`)) },
		func(r *reply) bool { return ofOne(r, c.org) != "" })
	session := c.get(t, "/v1/sessions?pageSize=1&filter="+q(`series = "`+series.text("name")+`"`)).ok(t)
	feedback := c.post(t, "/v1/feedback", obj{"membership": membership, "occasion": "SESSION", "session": session.text("sessions.0.name"), "helped": 4, "feltSafe": 5}).ok(t)
	room := c.post(t, "/v1/rooms", obj{"title": "Room 2", "seats": 12}).ok(t)
	member := c.get(t, "/v1/"+membership).ok(t).text("member")
	coming := c.get(t, "/v1/sessions?pageSize=2&filter="+q(`series = "`+series.text("name")+`"`)).ok(t).text("sessions.1.name")
	booking := c.post(t, "/v1/bookings", obj{"referral": accepted, "session": coming}).ok(t).text("name")
	webhook := c.post(t, "/v1/webhookSubscriptions", obj{"url": "https://ehr.example.org/inbox", "eventTypes": list{"care.cairn.referral.*"}}).ok(t).text("name")
	c.post(t, "/v1/"+webhook+":pause", obj{}).ok(t)
	return holdings{
		"webhookSubscriptions": {webhook},
		"bookings":             {booking},
		"calendars":            {c.post(t, "/v1/calendars", obj{"member": member}).ok(t).text("name")},
		"feedback":             {feedback.text("name")},
		"peerMatches":          {c.pair(t)},
		"organizations":        {c.org, hospital.org},
		"apiClients":           {"apiClients/" + c.id, "apiClients/" + hospital.id},
		"groups":               {group, draft, deleted},
		"facilitators":         {lead.text("name")},
		"resources":            {exercise.text("name")},
		"feeds":                {feed},
		"feedRuns":             {run},
		"duplicates":           {ofOne(pair, c.org)},
		"members":              {member},
		"memberships":          {membership},
		"rooms":                {room.text("name")},
		"series":               {series.text("name")},
		"sessions":             {session.text("sessions.0.name")},
		"referrals":            {sent, accepted, unsent, own.text("name"), cancelled},
		"referralConcerns":     {own.text("concern")},
		"accesses":             {c.get(t, "/v1/"+unsent+"/accesses").ok(t).text("accesses.0.name"), hospital.get(t, "/v1/"+sent+"/accesses").ok(t).text("accesses.0.name")},
		"patients":             {c.get(t, "/v1/"+unsent).ok(t).text("patient"), hospital.get(t, "/v1/"+sent).ok(t).text("patient")},
		"safetyConcerns": {c.post(t, "/v1/safetyConcerns", obj{
			"group": group, "membership": membership, "kind": "DISTRESS", "severity": "LOW", "description": "She was very quiet.",
		}).ok(t).text("name")},
		"erasures": {c.erased(t)},
	}
}

// erased keeps a person and erases her, and returns the erasure once it is done.
func (c *caller) erased(t *testing.T) string {
	t.Helper()
	member := c.post(t, "/v1/members", obj{"alias": "Wren", "role": "SURVIVOR"}).ok(t).text("name")
	erasure := c.post(t, "/v1/"+member+":erase", obj{}).ok(t).text("name")
	until(t, "she is erased", func() *reply { return c.get(t, "/v1/"+erasure) }, func(r *reply) bool { return r.text("state") == "DONE" })
	return erasure
}

// joins makes a new person take part in a group.
func (c *caller) joins(t *testing.T, group string) string {
	t.Helper()
	member := c.post(t, "/v1/members", obj{"alias": "Wren", "role": "SURVIVOR"}).ok(t).text("name")
	membership := c.post(t, "/v1/memberships", obj{"group": group, "member": member}).ok(t).text("name")
	c.post(t, "/v1/"+membership+":approve", obj{}).ok(t)
	return c.post(t, "/v1/"+membership+":acknowledgeGuidelines", obj{"version": 1}).ok(t).text("name")
}

// pair proposes a peer match of two new people in a group of their own.
func (c *caller) pair(t *testing.T) string {
	t.Helper()
	group := c.post(t, "/v1/groups", circle()).ok(t).text("name")
	c.post(t, "/v1/"+group+":publish", obj{}).ok(t)
	mentee, supporter := c.joins(t, group), c.joins(t, group)
	c.post(t, "/v1/"+supporter+":changeRole", obj{
		"role": "PEER_SUPPORTER", "overrideReason": "known for years",
		"training": obj{"course": "Peer support, basic", "completeDate": obj{"year": 2026, "month": 1, "day": 20}},
	}).ok(t)
	return c.post(t, "/v1/peerMatches", obj{"mentee": mentee}).ok(t).text("name")
}

// ofOne returns a pair of groups that are both the organization's, "" if there is none.
func ofOne(r *reply, org string) string {
	for _, d := range r.list("duplicates") {
		if text(dig(d, "groups.0.organization")) == org && text(dig(d, "groups.1.organization")) == org {
			return text(dig(d, "name"))
		}
	}
	return ""
}

// open tells why naming another's resource in a field is answered otherwise than naming one
// that there is not; "" if it must not be.
func open(method string, r reference, theirs holdings, name string) string {
	switch {
	case r.collection == "organizations":
		return "every organization is public"
	case name == theirs["groups"][0] && (strings.HasSuffix(method, "/GetGroup") || strings.HasSuffix(method, "/BatchGetGroups")):
		return "a published group is public"
	case name == theirs["groups"][0] && strings.HasSuffix(method, "/ListDuplicates"):
		return "a published group may be a duplicate of one's own"
	case name == theirs["groups"][0] && (r.String() == "referral.requested_group" || r.String() == "requested_group"):
		return "anybody may refer to a published group"
	case strings.HasSuffix(method, "/UpdateReferral") && r.String() == "referral.requested_group":
		return "a draft may name anything: it is looked at when it is sent"
	}
	return ""
}

// TestTenantsAreApart calls every RPC with the names of another organization's resources, in
// every field that names one, and asks every list. The answer is the same as for a name that
// nobody has; no list shows anything of others; nothing of theirs changes.
func TestTenantsAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ours, other := w.nonprofit(t, "Puentes"), w.nonprofit(t, "Ola")
	mine, theirs := w.settle(t, ours), w.settle(t, other)
	c := readContract(t)
	names := map[string]string{}
	for collection, list := range mine {
		names[collection] = list[0]
	}
	shape := &shaper{contract: c, names: names, now: w.now()}
	conn := ours.grpc(t)
	callers := map[string]func(ctx context.Context, method string, req, resp any) error{
		"client": func(ctx context.Context, method string, req, resp any) error {
			return call(ctx, conn, method, req, resp)
		},
		"coordinator": func(ctx context.Context, method string, req, resp any) error {
			peer := strings.Split(method, ".")[1]
			return call(suitetest.User(ctx, ours.org, "COORDINATOR"), w.Conn(peer), method, req, resp)
		},
	}
	all := rules(t)
	before := w.contents(t)
	compared := 0
	for _, full := range slices.Sorted(maps.Keys(all)) {
		rule := all[full]
		if rule.GetTenant() == policyv1.Tenant_PLATFORM || len(rule.GetScopes()) == 0 && !rule.GetPublic() {
			continue // not for organizations: the matrix has it
		}
		service, name, _ := strings.Cut(full[1:], "/")
		m := method(t, service, name)
		for _, ref := range c.references(m) {
			if ref.collection == "weightings" {
				continue // the platform's, for everybody to read
			}
			if len(theirs[ref.collection]) == 0 {
				t.Errorf("nobody has %s, which %s names: the test does not know how to make them", ref.collection, full)
			}
			for _, target := range theirs[ref.collection] {
				if open(full, ref, theirs, target) != "" {
					continue
				}
				nobody := ref.collection + "/" + uuid.NewString()
				if ref.collection == "accesses" {
					nobody = "accesses/100000000000000000" // they are numbered
				}
				for who, call := range callers {
					ask := func(name string) (string, error) {
						req, resp := shape.request(t, m), answer(t, service, string(m.Name()))
						if r, ok := req.Interface().(*referralv1.ScheduleReferralRequest); ok && !ref.identifies() {
							r.Name, r.SessionTime = mine["referrals"][1], nil // one that is accepted could take it
						}
						if r, ok := req.Interface().(*referralv1.UpdateReferralRequest); ok && !ref.identifies() {
							r.Referral.Name = mine["referrals"][2] // its own draft
						}
						if r, ok := req.Interface().(*referralv1.AssignReferralRequest); ok && !ref.identifies() {
							r.Name, r.OwnerOrganization = mine["referrals"][3], "" // its own that nobody has answered
						}
						if r, ok := req.Interface().(*referralv1.ReferAgainRequest); ok && !ref.identifies() {
							r.Name, r.OwnerOrganization, r.Consent = mine["referrals"][4], "", &referralv1.Referral_Consent{} // its own that is cancelled
						}
						shape.put(req, ref, name)
						err := call(t.Context(), full, req.Interface(), resp)
						return told(resp, err, name), err
					}
					got, err := ask(target)
					want, nobodys := ask(nobody)
					if got != want || status.Code(err) != status.Code(nobodys) {
						t.Errorf("%s as a %s, %s = another's %s:\n%s\nfor a name that nobody has:\n%s", full, who, ref, target, got, want)
					}
					if ref.identifies() && status.Code(err) != codes.NotFound && status.Code(err) != codes.PermissionDenied {
						t.Errorf("%s as a %s, %s = another's %s: %v, want NOT_FOUND", full, who, ref, target, err)
					}
					if status.Code(err) == codes.PermissionDenied && reasonOf(err) != "MISSING_ROLE" {
						t.Errorf("%s as a %s, %s = another's %s: %v tells that it is there", full, who, ref, target, err)
					}
					compared++
				}
			}
		}
	}
	if compared < 200 {
		t.Errorf("%d answers compared only", compared)
	}
	if d := cmp.Diff(before, w.contents(t)); d != "" {
		t.Errorf("calls with another's names have changed something (-before +after):\n%s", d)
	}
	listsAreApart(t, conn, all, theirs)
}

// told is what a caller learns of an answer, without the name she asked for and the call's own id.
func told(resp proto.Message, err error, name string) string {
	said := prototext.Format(resp)
	if err != nil {
		st := status.Convert(err)
		said = st.Code().String() + ": " + st.Message()
		for _, d := range st.Details() {
			if m, ok := d.(proto.Message); ok {
				if _, own := m.(*errdetails.RequestInfo); !own {
					said += "\n" + prototext.MarshalOptions{}.Format(m)
				}
			}
		}
	}
	said = strings.Join(strings.Fields(said), " ") // prototext varies its spaces on purpose
	_, id, _ := strings.Cut(name, "/")
	return strings.ReplaceAll(said, id, "…")
}

// listsAreApart asks every list and search, plainly and for what is theirs by name.
func listsAreApart(t *testing.T, conn *grpc.ClientConn, all map[string]*policyv1.Rule, theirs holdings) {
	t.Helper()
	public := map[string]bool{theirs["groups"][0]: true}
	asked := 0
	for full, rule := range all {
		service, name, _ := strings.Cut(full[1:], "/")
		if !strings.HasPrefix(name, "List") && !strings.HasPrefix(name, "Search") || rule.GetTenant() == policyv1.Tenant_PLATFORM || name == "ListOrganizations" ||
			len(rule.GetScopes()) == 0 && !rule.GetPublic() { // not for clients
			continue
		}
		m := method(t, service, name)
		filters := []string{""}
		if fd := m.Input().Fields().ByName("filter"); fd != nil {
			for _, of := range []string{"organization", "owner_organization", "group", "requested_group", "member", "membership", "series", "referral", "title", "scopes"} {
				for _, list := range theirs {
					filters = append(filters, of+` = "`+list[0]+`"`)
				}
			}
		}
		for _, filter := range filters {
			req, resp := request(t, service, name), answer(t, service, name)
			if filter != "" {
				req.ProtoReflect().Set(m.Input().Fields().ByName("filter"), protoreflect.ValueOfString(filter))
			}
			for field, v := range map[protoreflect.Name]protoreflect.Value{"page_size": protoreflect.ValueOfInt32(100), "show_deleted": protoreflect.ValueOfBool(true)} {
				if fd := m.Input().Fields().ByName(field); fd != nil {
					req.ProtoReflect().Set(fd, v)
				}
			}
			err := call(t.Context(), conn, full, req, resp)
			switch status.Code(err) {
			case codes.OK:
				asked++
			case codes.InvalidArgument: // no such filter, or what to list is not said
				continue
			default:
				t.Errorf("%s with %q: %v", full, filter, err)
			}
			shown := prototext.Format(resp)
			for collection, list := range theirs {
				for _, name := range list {
					if strings.Contains(shown, name) && !public[name] && collection != "organizations" {
						t.Errorf("%s with %q shows another's %s: %s", full, filter, name, shown)
					}
				}
			}
		}
	}
	if asked < 20 {
		t.Errorf("%d lists were answered only", asked)
	}
}
