package referral

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/groups"
	"cairn.care/services/internal/pgtest"
	"cairn.care/services/internal/smtptest"
	"cairn.care/services/internal/suitetest"
	"cairn.care/services/membership"
	"cairn.care/services/partners"
	"cairn.care/services/scheduling"
)

func TestMain(m *testing.M) { pgtest.Run(m) }

// thursday is a Thursday noon in Kansas City's winter.
var thursday = time.Date(2027, 3, 4, 18, 0, 0, 0, time.UTC)

// fixture is the whole suite as its callers reach it, with a hospital and a nonprofit that has a group.
type fixture struct {
	*suitetest.Suite
	referralv1.ReferralServiceClient

	process  referralv1.ReferralProcessServiceClient
	consents referralv1.ConsentsServiceClient
	messages referralv1.MessagesServiceClient
	concerns referralv1.ConcernsServiceClient

	t          testing.TB
	srv        *server // the service's insides
	groups     groupsv1.GroupsServiceClient
	membership membershipv1.MembershipServiceClient
	scheduling schedulingv1.SchedulingServiceClient

	hospital, nonprofit, otherHospital, otherNonprofit string
	refer, receive, strange, other, platform           context.Context
	group                                              string // of the nonprofit, two seats and a waitlist
}

// setup starts the suite; change, if set, changes the referral service before it starts.
func setup(t testing.TB, change ...func(*server)) *fixture {
	t.Helper()
	return setupWith(t, nil, change...)
}

// setupMail is setup with e-mail, and the mailboxes that it goes to: an organization's is its name in one word at care.test.
func setupMail(t testing.TB) (*fixture, *smtptest.Server) {
	t.Helper()
	box := smtptest.Start(t)
	return setupWith(t, []suitetest.Option{suitetest.Mail(box.Address)}), box
}

func setupWith(t testing.TB, options []suitetest.Option, change ...func(*server)) *fixture {
	t.Helper()
	f := &fixture{t: t}
	tapped := chassis.Component{Name: service, Migrations: migrations, Start: func(_ context.Context, h *chassis.Host) error {
		var err error
		if f.srv, err = newServer(h); err != nil {
			return err
		}
		for _, c := range change {
			c(f.srv)
		}
		f.srv.register(h)
		return nil
	}}
	f.Suite = suitetest.Start(t, []chassis.Component{partners.Component(), groups.Component(), membership.Component(), scheduling.Component(), tapped}, options...)
	f.Clock.Set(thursday)
	f.ReferralServiceClient = referralv1.NewReferralServiceClient(f.Conn(service))
	f.process = referralv1.NewReferralProcessServiceClient(f.Conn(service))
	f.consents = referralv1.NewConsentsServiceClient(f.Conn(service))
	f.messages = referralv1.NewMessagesServiceClient(f.Conn(service))
	f.concerns = referralv1.NewConcernsServiceClient(f.Conn(service))
	f.groups = groupsv1.NewGroupsServiceClient(f.Conn("groups"))
	f.membership = membershipv1.NewMembershipServiceClient(f.Conn("membership"))
	f.scheduling = schedulingv1.NewSchedulingServiceClient(f.Conn("scheduling"))
	f.platform = suitetest.Platform(t.Context(), "referrals.read", "referrals.write", "partners.write")
	f.hospital, f.refer = f.organization(partnersv1.Organization_HOSPITAL, "St. Anna")
	f.otherHospital, f.strange = f.organization(partnersv1.Organization_HOSPITAL, "Mercy")
	f.nonprofit, f.receive = f.organization(partnersv1.Organization_NONPROFIT, "Hope House")
	f.otherNonprofit, f.other = f.organization(partnersv1.Organization_NONPROFIT, "Wren Circle")
	f.group = f.newGroup(f.receive, func(g *groupsv1.Group) { g.Capacity = &groupsv1.Group_Capacity{Seats: 2, Waitlist: true} })
	return f
}

func (f *fixture) organization(kind partnersv1.Organization_Kind, called string) (string, context.Context) {
	f.t.Helper()
	o, err := partnersv1.NewPartnersServiceClient(f.Conn("partners")).CreateOrganization(f.platform, &partnersv1.CreateOrganizationRequest{
		Organization: &partnersv1.Organization{
			Kind: kind, DisplayName: called, Contact: &partnersv1.Organization_Contact{Email: strings.ToLower(strings.NewReplacer(" ", "", ".", "").Replace(called)) + "@care.test"},
		},
	})
	if err != nil {
		f.t.Fatalf("create organization: %v", err)
	}
	return o.GetName(), suitetest.Client(f.t.Context(), o.GetName(), "referrals.read", "referrals.write", "groups.write", "members.read", "members.write", "schedule.read", "schedule.write")
}

func (f *fixture) newGroup(ctx context.Context, edits ...func(*groupsv1.Group)) string {
	f.t.Helper()
	g := &groupsv1.Group{
		Title: "Camino", Summary: "For people after breast cancer.", Languages: []string{"es", "en"}, Kind: groupsv1.Group_PEER_SUPPORT,
		Facilitation: groupsv1.Group_PEER_LED, Format: groupsv1.Group_ONLINE, CancerTypes: []string{"breast"},
		SideEffects: []groupsv1.Group_SideEffect{groupsv1.Group_LYMPHOEDEMA}, Online: &groupsv1.Group_Online{Platform: "Zoom"},
		TimeZone: "America/Chicago", SourceSystem: "test", ExternalId: uuid.NewString(),
	}
	lead, err := f.groups.CreateFacilitator(ctx, &groupsv1.CreateFacilitatorRequest{Facilitator: &groupsv1.Facilitator{
		DisplayName: "Ana", LivedExperience: []*groupsv1.Facilitator_LivedExperience{{CancerType: "breast", Role: groupsv1.Facilitator_LivedExperience_SURVIVOR}},
	}})
	if err != nil {
		f.t.Fatal(err)
	}
	g.Facilitators = []*groupsv1.Group_FacilitatorRole{{Facilitator: lead.GetName(), Role: groupsv1.Group_FacilitatorRole_LEAD}}
	for _, e := range edits {
		e(g)
	}
	g, err = f.groups.CreateGroup(ctx, &groupsv1.CreateGroupRequest{Group: g})
	if err != nil {
		f.t.Fatalf("create group: %v", err)
	}
	if g, err = f.groups.PublishGroup(ctx, &groupsv1.PublishGroupRequest{Name: g.GetName()}); err != nil {
		f.t.Fatalf("publish group: %v", err)
	}
	return g.GetName()
}

// weekly gives the group sessions on Thursdays at 19:00 in Kansas City, from the day of thursday.
func (f *fixture) weekly(group string) *schedulingv1.Series {
	f.t.Helper()
	s, err := f.scheduling.CreateSeries(f.receive, &schedulingv1.CreateSeriesRequest{Series: &schedulingv1.Series{
		Group: group, Rrule: "FREQ=WEEKLY", TimeZone: "America/Chicago", LocalStart: "2027-03-04T19:00", Duration: durationpb.New(90 * time.Minute),
	}})
	if err != nil {
		f.t.Fatalf("create series: %v", err)
	}
	return s
}

func (f *fixture) sessions(group string) []*schedulingv1.Session {
	f.t.Helper()
	resp, err := f.scheduling.ListSessions(f.receive, &schedulingv1.ListSessionsRequest{Filter: fmt.Sprintf("group = %q", group), PageSize: 10})
	if err != nil {
		f.t.Fatalf("list sessions: %v", err)
	}
	return resp.GetSessions()
}

// The subject's data, which must appear nowhere but where they are meant to.
const (
	givenName  = "Xochitl"
	familyName = "Quetzalcanary"
	mrn        = "MRN-7734-canary"
	phone      = "+1 816 555 0177"
	address    = "xochitl.canary@example.org"
	street     = "1 Canary Lane"
	written    = "Xochitl Quetzalcanary cannot drive"
)

// orders is who numbers the referrer's orders.
const orders = "urn:oid:1.2.840.114350.1.13.861"

// referral is a referral to the fixture's group, whole and with a consent that covers everything.
func (f *fixture) referral(edits ...func(*referralv1.Referral)) *referralv1.Referral {
	r := &referralv1.Referral{
		Author: "Dr Osei, oncology", PlacerNumber: "P-1", PlacerSystem: orders, Urgency: referralv1.Referral_ROUTINE, RequestedGroup: f.group,
		Subject: &referralv1.Referral_Subject{
			Identifiers: []*referralv1.Referral_Subject_Identifier{{System: "urn:oid:2.16.840.1.113883.19.5", Value: mrn}},
			GivenName:   givenName, FamilyName: familyName, BirthDate: &date.Date{Year: 1974, Month: 5, Day: 6},
			Phone: phone, Email: address, Address: &typev1.PostalAddress{AddressLines: []string{street}, Locality: "Kansas City", Country: "US"},
			ContactPreference: referralv1.Referral_Subject_TEXT_MESSAGE,
		},
		ReasonCodes: []*typev1.Code{{System: "http://hl7.org/fhir/sid/icd-10-cm", Code: "Z85.3"}},
		Needs: &referralv1.Needs{
			CancerTypes: []string{"breast"}, SideEffects: []groupsv1.Group_SideEffect{groupsv1.Group_LYMPHOEDEMA}, Role: referralv1.Needs_SURVIVOR,
			Languages: []string{"es"}, Location: &latlng.LatLng{Latitude: 39.123456, Longitude: -94.567891}, Country: "US",
		},
		Distress: proto.Int32(5),
		Consent: &referralv1.Referral_Consent{GrantTime: timestamppb.New(thursday.Add(-time.Hour)), Share: []referralv1.Referral_Consent_Item{
			referralv1.Referral_Consent_NAME, referralv1.Referral_Consent_BIRTH_DATE, referralv1.Referral_Consent_CONTACT,
			referralv1.Referral_Consent_IDENTIFIERS, referralv1.Referral_Consent_CLINICAL,
		}},
	}
	for _, e := range edits {
		e(r)
	}
	return r
}

// send creates a referral.
func (f *fixture) send(edits ...func(*referralv1.Referral)) *referralv1.Referral {
	f.t.Helper()
	r, err := f.CreateReferral(f.refer, &referralv1.CreateReferralRequest{Referral: f.referral(edits...)})
	if err != nil {
		f.t.Fatalf("create referral: %v", err)
	}
	return r
}

// seated is a referral that the nonprofit has accepted, whose person has a seat and has acknowledged the guidelines.
func (f *fixture) seated(edits ...func(*referralv1.Referral)) *referralv1.Referral {
	f.t.Helper()
	r := f.accept(f.send(edits...))
	f.acknowledge(r.GetMembership())
	return r
}

func (f *fixture) accept(r *referralv1.Referral) *referralv1.Referral {
	f.t.Helper()
	r, err := f.AcceptReferral(f.receive, &referralv1.AcceptReferralRequest{Name: r.GetName()})
	if err != nil {
		f.t.Fatalf("accept referral: %v", err)
	}
	return r
}

func (f *fixture) acknowledge(membership string) {
	f.t.Helper()
	if _, err := f.membership.AcknowledgeGuidelines(f.receive, &membershipv1.AcknowledgeGuidelinesRequest{Name: membership}); err != nil {
		f.t.Fatalf("acknowledge guidelines: %v", err)
	}
}

func (f *fixture) attend(session, membership string, status schedulingv1.Attendance_Status) {
	f.t.Helper()
	if _, err := f.scheduling.RecordAttendance(f.receive, &schedulingv1.RecordAttendanceRequest{
		Session: session, Entries: []*schedulingv1.RecordAttendanceRequest_Entry{{Membership: membership, Status: status}},
	}); err != nil {
		f.t.Fatalf("record attendance: %v", err)
	}
}

func (f *fixture) get(ctx context.Context, name string) *referralv1.Referral {
	f.t.Helper()
	r, err := f.GetReferral(ctx, &referralv1.GetReferralRequest{Name: name})
	if err != nil {
		f.t.Fatalf("get referral: %v", err)
	}
	return r
}

// await waits until the referral is in the state, and returns it as the referrer sees it.
func (f *fixture) await(name string, want state) *referralv1.Referral {
	f.t.Helper()
	f.eventually(func() error {
		if r := f.get(f.refer, name); r.GetState() != want {
			return fmt.Errorf("%s is %s, want %s; timeline %v", name, r.GetState(), want, f.actions(name))
		}
		return nil
	})
	return f.get(f.refer, name)
}

func (f *fixture) eventually(check func() error) {
	f.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-tick.C {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("after 30 s: %v", err)
		}
	}
}

func (f *fixture) timeline(name string) []*referralv1.ReferralEvent {
	f.t.Helper()
	resp, err := f.ListReferralEvents(f.refer, &referralv1.ListReferralEventsRequest{Parent: name, PageSize: 200})
	if err != nil {
		f.t.Fatalf("list events: %v", err)
	}
	return resp.GetReferralEvents()
}

// actions writes a timeline as "SEND ACCEPT …".
func (f *fixture) actions(name string) string {
	f.t.Helper()
	var all []string
	for _, e := range f.timeline(name) {
		all = append(all, e.GetAction().String())
	}
	return strings.Join(all, " ")
}

// published returns the events told of a referral, by the last part of their types.
func (f *fixture) published(name string) []string {
	f.t.Helper()
	var all []string
	rows, err := f.DBs[service].Query(f.t.Context(), `SELECT type FROM outbox WHERE subject = $1 ORDER BY id`, name)
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var kind string
		if err := rows.Scan(&kind); err != nil {
			f.t.Fatal(err)
		}
		all = append(all, strings.TrimSuffix(strings.TrimPrefix(kind, "care.cairn.referral.referral."), ".v1"))
	}
	if rows.Err() != nil {
		f.t.Fatal(rows.Err())
	}
	return all
}

// system is the context of the service's jobs and event handlers.
func (f *fixture) system() context.Context { return auth.System(f.t.Context(), service) }

// query runs a query on the service's database that returns one value, past row-level security.
func query[T any](f *fixture, sql string, args ...any) T {
	f.t.Helper()
	var v T
	b := f.DBs[service].Batch(f.system())
	b.Queue(sql, args...).QueryRow(func(row pgx.Row) error { return row.Scan(&v) })
	if err := f.DBs[service].Send(f.system(), b); err != nil {
		f.t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// errText writes an error as "Code REASON field…", which is what a caller tells errors by; "OK" for none.
func errText(err error) string {
	st := status.Convert(err)
	words := []string{st.Code().String()}
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetReason() != "INVALID_FIELD" {
				words = append(words, d.GetReason())
			}
		case *errdetails.BadRequest:
			var fields []string
			for _, v := range d.GetFieldViolations() {
				fields = append(fields, v.GetField())
			}
			slices.Sort(fields)
			words = append(words, slices.Compact(fields)...)
		}
	}
	return strings.Join(words, " ")
}
