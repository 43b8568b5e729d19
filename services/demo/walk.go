// Package demo shows Cairn at work: demo organizations and clients, a sample directory, and
// one referral walked round its loop over the public doors, REST and gRPC.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
)

const (
	walkSystem  = "cairn-walk"     // source system of the circles that walks open
	sessionSoon = 6 * time.Second  // from opening a circle to its first session
	patience    = 30 * time.Second // for what follows by events
	glance      = 50 * time.Millisecond
)

// App returns a gRPC connection to a service as the demo app.
func (s Server) App(ctx context.Context, service string) (*grpc.ClientConn, error) {
	return s.Conn(ctx, App, service)
}

// Conn returns a gRPC connection to a service as a demo client; its calls carry the
// client's token.
func (s Server) Conn(ctx context.Context, client, service string) (*grpc.ClientConn, error) {
	tokens := &tokenSource{server: s, client: client}
	if _, err := tokens.get(ctx); err != nil {
		return nil, err
	}
	withToken := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		token, err := tokens.get(ctx)
		if err != nil {
			return err
		}
		return invoke(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), method, req, reply, cc, opts...)
	}
	streamWithToken := func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		token, err := tokens.get(ctx)
		if err != nil {
			return nil, err
		}
		return open(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), desc, cc, method, opts...)
	}
	creds := insecure.NewCredentials()
	if s.TLS != nil {
		creds = credentials.NewTLS(s.TLS)
	}
	conn, err := grpc.NewClient(s.GRPC(service), grpc.WithTransportCredentials(creds), grpc.WithUnaryInterceptor(withToken), grpc.WithStreamInterceptor(streamWithToken))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", service, err)
	}
	return conn, nil
}

// walk is one referral on its way.
type walk struct {
	out       io.Writer
	server    Server
	hospital  *Caller
	nonprofit *Caller
	members   membershipv1.MembershipServiceClient
	step      int
	unprinted error

	circle   *groupsv1.Group
	series   *schedulingv1.Series
	referral *referralv1.Referral
}

// Walk walks one referral round its loop and prints every step to out. It fails if the loop
// does not close.
func Walk(ctx context.Context, out io.Writer, s Server) error {
	app, err := s.App(ctx, "membership")
	if err != nil {
		return err
	}
	defer app.Close() //nolint:errcheck // the walk is over
	w := &walk{out: out, server: s, members: membershipv1.NewMembershipServiceClient(app)}
	for _, step := range []func(context.Context) error{
		w.tokens, w.openCircle, w.recommend, w.send, w.accept, w.waitForSeat, w.acknowledge, w.scheduled, w.attend, w.complete, w.timeline,
	} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("step %d: %w", w.step, err)
		}
	}
	return w.unprinted
}

func (w *walk) say(who, what, calls string) {
	w.step++
	w.printf("\n%2d. %s %s\n    %s\n", w.step, who, what, calls)
}

func (w *walk) detail(format string, a ...any) {
	w.printf("      "+format+"\n", a...)
}

// printf remembers that it could not print; the walk then fails at its end.
func (w *walk) printf(format string, a ...any) {
	if _, err := fmt.Fprintf(w.out, format, a...); err != nil && w.unprinted == nil {
		w.unprinted = err
	}
}

func (w *walk) tokens(ctx context.Context) error {
	w.say("The hospital", "proves who it is with its private key and gets a token for five minutes.", "POST /oauth2/token   (SMART Backend Services, private_key_jwt, ES384)")
	var err error
	if w.hospital, err = w.server.Caller(ctx, Hospital); err != nil {
		return err
	}
	w.nonprofit, err = w.server.Caller(ctx, Nonprofit)
	return err
}

// openCircle opens a small therapy circle with one seat, whose first session is in a moment;
// circles of earlier walks are archived.
func (w *walk) openCircle(ctx context.Context) error {
	w.say("The nonprofit", "opens a small circle with one seat, led by its psychologist.", "POST /v1/groups, POST /v1/series, POST /v1/groups/…:publish")
	var old groupsv1.ListGroupsResponse
	filter := url.QueryEscape(`source_system = "` + walkSystem + `" AND state = PUBLISHED`)
	if err := w.nonprofit.Call(ctx, "GET", "/v1/groups?filter="+filter, nil, &old); err != nil {
		return err
	}
	for _, g := range old.GetGroups() {
		if err := w.nonprofit.Call(ctx, "POST", "/v1/"+g.GetName()+":archive", &groupsv1.ArchiveGroupRequest{}, &groupsv1.Group{}); err != nil {
			return err
		}
	}
	var leaders groupsv1.ListFacilitatorsResponse
	if err := w.nonprofit.Call(ctx, "GET", "/v1/facilitators?pageSize=50", nil, &leaders); err != nil {
		return err
	}
	lead := ""
	for _, f := range leaders.GetFacilitators() {
		if f.GetLicence().GetVerifyTime() != nil {
			lead = f.GetName()
		}
	}
	now := time.Now()
	w.circle = &groupsv1.Group{}
	if err := w.nonprofit.Call(ctx, "POST", "/v1/groups", &groupsv1.Group{
		Title: "Círculo de linfedema", Summary: "Grupo terapéutico pequeño para vivir con linfedema y con lo que pesa después del cáncer de mama.",
		Kind: groupsv1.Group_GROUP_THERAPY, Facilitation: groupsv1.Group_PROFESSIONALLY_LED, Format: groupsv1.Group_IN_PERSON,
		Languages: []string{"es"}, CancerTypes: []string{"breast"}, Phases: []groupsv1.Group_Phase{groupsv1.Group_AFTER_TREATMENT},
		SideEffects: []groupsv1.Group_SideEffect{groupsv1.Group_LYMPHOEDEMA, groupsv1.Group_ANXIETY},
		Audiences:   []groupsv1.Group_Audience{groupsv1.Group_SURVIVORS}, Intake: groupsv1.Group_NO_SCREENING,
		Venue: &groupsv1.Group_Venue{
			Kind: groupsv1.Group_Venue_COMMUNITY_CENTRE, Label: "Casa Puentes",
			Address:  &typev1.PostalAddress{Locality: "Houston", AdministrativeArea: "TX", Country: "US"},
			Location: &latlng.LatLng{Latitude: 29.71, Longitude: -95.3}, Precision: groupsv1.Group_Venue_APPROXIMATE,
		},
		Capacity: &groupsv1.Group_Capacity{Seats: 1, Waitlist: true}, Cost: &groupsv1.Group_Cost{Type: groupsv1.Group_Cost_FREE},
		Structure:       &groupsv1.Group_Structure{Type: groupsv1.Group_Structure_OPEN},
		Confidentiality: groupsv1.Group_LEGALLY_MANDATED,
		Guidelines:      &groupsv1.Group_Guidelines{Text: "Lo que se dice aquí se queda aquí."},
		Facilitators:    []*groupsv1.Group_FacilitatorRole{{Facilitator: lead, Role: groupsv1.Group_FacilitatorRole_LEAD}},
		TimeZone:        "America/Chicago", ExternalId: now.UTC().Format("20060102T150405.000"), SourceSystem: walkSystem,
	}, w.circle); err != nil {
		return err
	}
	zone, err := time.LoadLocation("America/Chicago")
	if err != nil {
		return fmt.Errorf("zone: %w", err)
	}
	w.series = &schedulingv1.Series{}
	if err := w.nonprofit.Call(ctx, "POST", "/v1/series", &schedulingv1.Series{
		Group: w.circle.GetName(), Rrule: "FREQ=WEEKLY;COUNT=8", TimeZone: "America/Chicago", Format: schedulingv1.Series_IN_PERSON,
		LocalStart: now.Add(sessionSoon).In(zone).Format("2006-01-02T15:04:05"), Duration: durationpb.New(90 * time.Minute), Place: "Casa Puentes",
	}, w.series); err != nil {
		return err
	}
	if err := w.nonprofit.Call(ctx, "POST", "/v1/"+w.circle.GetName()+":publish", &groupsv1.PublishGroupRequest{}, w.circle); err != nil {
		return err
	}
	w.detail("%s  %q", w.circle.GetName(), w.circle.GetTitle())
	// The calendar reaches the directory by an event.
	return w.until(ctx, "the directory knows the circle's sessions", func() (bool, error) {
		var g groupsv1.Group
		err := w.hospital.Call(ctx, "GET", "/v1/"+w.circle.GetName(), nil, &g)
		return len(g.GetAvailability().GetNextSessions()) > 0, err
	})
}

func needs() *referralv1.Needs {
	return &referralv1.Needs{
		CancerTypes: []string{"breast"}, Phase: groupsv1.Group_AFTER_TREATMENT, Role: referralv1.Needs_SURVIVOR,
		SideEffects: []groupsv1.Group_SideEffect{groupsv1.Group_LYMPHOEDEMA}, Languages: []string{"es"},
		Location: &latlng.LatLng{Latitude: 29.6911, Longitude: -95.2091}, Country: "US", TravelLimitKm: 40,
	}
}

func (w *walk) recommend(ctx context.Context) error {
	w.say("The hospital", "asks which groups suit a Spanish-speaking breast cancer survivor near Pasadena, Texas, who lives with lymphoedema; her distress is 5.", "POST /v1/referrals:recommend")
	distress := int32(5)
	ask := &referralv1.RecommendGroupsRequest{Needs: needs(), Distress: &distress, MaxResults: 5}
	found := &referralv1.RecommendGroupsResponse{}
	if err := w.until(ctx, "the circle can be found", func() (bool, error) { // a moment after it was opened
		err := w.hospital.Call(ctx, "POST", "/v1/referrals:recommend", ask, found)
		return slices.ContainsFunc(found.GetRecommendations(), func(r *referralv1.Recommendation) bool { return r.GetGroup().GetName() == w.circle.GetName() }), err
	}); err != nil {
		return err
	}
	if len(found.GetRecommendations()) == 0 {
		return errors.New("nothing was recommended")
	}
	for _, note := range found.GetNotes() {
		w.detail("%s", note)
	}
	chosen := false
	for i, r := range found.GetRecommendations()[:min(3, len(found.GetRecommendations()))] {
		w.detail("%d. %s, score %.2f", i+1, r.GetGroup().GetTitle(), r.GetScore())
		for _, c := range r.GetCriteria() {
			w.detail("     %-7s %s", strings.ToLower(c.GetVerdict().String()), c.GetExplanation())
		}
		chosen = chosen || r.GetGroup().GetName() == w.circle.GetName()
	}
	if !chosen {
		return errors.New("the circle is not among the first three")
	}
	return nil
}

func (w *walk) send(ctx context.Context) error {
	w.say("The hospital", "refers her to the circle.", "POST /v1/referrals")
	distress := int32(5)
	w.referral = &referralv1.Referral{}
	if err := w.hospital.Call(ctx, "POST", "/v1/referrals", &referralv1.Referral{
		Author: "Survivorship clinic, nurse navigator", PlacerNumber: "DEMO-" + time.Now().UTC().Format("150405.000"),
		Subject: &referralv1.Referral_Subject{
			GivenName: "Rosa", FamilyName: "Example", BirthDate: &date.Date{Year: 1971, Month: 5, Day: 2}, Phone: "+17135550142",
			Identifiers:       []*referralv1.Referral_Subject_Identifier{{System: "urn:example:bayou-regional:mrn", Value: "MRN-" + time.Now().UTC().Format("150405.000")}},
			ContactPreference: referralv1.Referral_Subject_CALL,
		},
		ReasonCodes: []*typev1.Code{
			{System: "http://hl7.org/fhir/sid/icd-10-cm", Code: "Z85.3", Display: "Personal history of malignant neoplasm of breast"},
			{System: "http://hl7.org/fhir/sid/icd-10-cm", Code: "I97.2", Display: "Postmastectomy lymphedema syndrome"},
		},
		Needs: needs(), Distress: &distress, Urgency: referralv1.Referral_ROUTINE, RequestedGroup: w.circle.GetName(),
		Consent: &referralv1.Referral_Consent{
			Share: []referralv1.Referral_Consent_Item{
				referralv1.Referral_Consent_NAME, referralv1.Referral_Consent_BIRTH_DATE,
				referralv1.Referral_Consent_CONTACT, referralv1.Referral_Consent_CLINICAL,
			},
			GrantTime: timestamppb.Now(),
		},
	}, w.referral); err != nil {
		return err
	}
	w.detail("%s is %s (FHIR Task %q, BSeR %s)", w.referral.GetName(), w.referral.GetState(), w.referral.GetTaskStatus(), w.referral.GetBserBusinessStatus())
	return nil
}

func (w *walk) accept(ctx context.Context) error {
	w.say("The nonprofit", "finds the referral among those that wait for it, and accepts; Cairn takes the seat in the same step.", "GET /v1/referrals?filter=state = SENT, GET /v1/referrals/…, POST /v1/referrals/…:accept")
	var list referralv1.ListReferralsResponse
	if err := w.nonprofit.Call(ctx, "GET", "/v1/referrals?pageSize=200&filter="+url.QueryEscape("state = SENT"), nil, &list); err != nil {
		return err
	}
	seen := false
	for _, r := range list.GetReferrals() {
		if r.GetName() == w.referral.GetName() {
			seen = true
		}
	}
	if !seen {
		return errors.New("the nonprofit does not see the referral")
	}
	if err := w.nonprofit.Call(ctx, "GET", "/v1/"+w.referral.GetName(), nil, w.referral); err != nil {
		return err
	}
	subject := w.referral.GetSubject()
	w.detail("sees what her consent covers: %s %s, %s, distress %d", subject.GetGivenName(), subject.GetFamilyName(), subject.GetPhone(), w.referral.GetDistress())
	if err := w.nonprofit.Call(ctx, "POST", "/v1/"+w.referral.GetName()+":accept", &referralv1.AcceptReferralRequest{Note: "We will call her today."}, w.referral); err != nil {
		return err
	}
	w.detail("%s; her seat is %s", w.referral.GetState(), w.referral.GetMembership())
	return nil
}

// waitForSeat has somebody else ask for the circle.
func (w *walk) waitForSeat(ctx context.Context) error {
	w.say("The member app", "asks for the same circle for another member; the nonprofit approves, but the last seat is held.", "gRPC MembershipService.CreateMember, CreateMembership, ApproveMembership")
	other, err := w.members.CreateMember(ctx, &membershipv1.CreateMemberRequest{Member: &membershipv1.Member{
		Organization: w.circle.GetOrganization(), Alias: "Golondrina", Role: membershipv1.Member_SURVIVOR, BirthYear: 1964, Languages: []string{"es"},
	}})
	if err != nil {
		return err
	}
	m, err := w.members.CreateMembership(ctx, &membershipv1.CreateMembershipRequest{Group: w.circle.GetName(), Member: other.GetName()})
	if err != nil {
		return err
	}
	if m.GetState() == membershipv1.Membership_REQUESTED {
		if m, err = w.members.ApproveMembership(ctx, &membershipv1.ApproveMembershipRequest{Name: m.GetName()}); err != nil {
			return err
		}
	}
	if m.GetState() != membershipv1.Membership_WAITLISTED {
		return fmt.Errorf("the second member is %s, not WAITLISTED", m.GetState())
	}
	w.detail("%s is %s", other.GetAlias(), m.GetState())
	return nil
}

func (w *walk) acknowledge(ctx context.Context) error {
	w.say("The member app", "shows her the circle's guidelines; she agrees, and the last seat is hers.", "gRPC MembershipService.AcknowledgeGuidelines")
	m, err := w.members.AcknowledgeGuidelines(ctx, &membershipv1.AcknowledgeGuidelinesRequest{
		Name: w.referral.GetMembership(), Version: w.circle.GetGuidelines().GetVersion(),
	})
	if err != nil {
		return err
	}
	if m.GetState() != membershipv1.Membership_ACTIVE {
		return fmt.Errorf("her membership is %s, not ACTIVE", m.GetState())
	}
	w.detail("%s is %s", m.GetName(), m.GetState())
	return nil
}

func (w *walk) scheduled(ctx context.Context) error {
	w.say("Cairn", "tells the hospital when she is expected, by itself.", "GET /v1/referrals/…")
	if err := w.becomes(ctx, referralv1.Referral_SCHEDULED); err != nil {
		return err
	}
	w.detail("%s (BSeR %s), first session %s", w.referral.GetState(), w.referral.GetBserBusinessStatus(),
		w.referral.GetFirstSessionTime().AsTime().Format(time.RFC1123))
	return nil
}

func (w *walk) attend(ctx context.Context) error {
	w.say("The nonprofit", "holds the session and notes who came; her attendance moves the referral by itself.", "POST /v1/sessions/…:recordAttendance")
	session, begins := w.referral.GetFirstSession(), w.referral.GetFirstSessionTime().AsTime()
	if time.Until(begins) > sessionSoon { // a slow machine: the session began before the seat was hers; she comes all the same
		var all schedulingv1.ListSessionsResponse
		if err := w.nonprofit.Call(ctx, "GET", "/v1/sessions?pageSize=1&filter="+url.QueryEscape(fmt.Sprintf("series = %q", w.series.GetName())), nil, &all); err != nil {
			return err
		}
		session, begins = all.GetSessions()[0].GetName(), all.GetSessions()[0].GetStartTime().AsTime()
	}
	wait := time.NewTimer(time.Until(begins))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
	}
	var held schedulingv1.RecordAttendanceResponse
	if err := w.nonprofit.Call(ctx, "POST", "/v1/"+session+":recordAttendance", &schedulingv1.RecordAttendanceRequest{
		Entries:  []*schedulingv1.RecordAttendanceRequest_Entry{{Membership: w.referral.GetMembership(), Status: schedulingv1.Attendance_PRESENT}},
		MarkHeld: true,
	}, &held); err != nil {
		return err
	}
	if err := w.becomes(ctx, referralv1.Referral_ENGAGED); err != nil {
		return err
	}
	w.detail("%s; the session is %s", w.referral.GetState(), held.GetSession().GetState())
	return nil
}

func (w *walk) complete(ctx context.Context) error {
	w.say("The nonprofit", "reports the outcome.", "POST /v1/referrals/…:complete")
	after := int32(2)
	return w.nonprofit.Call(ctx, "POST", "/v1/"+w.referral.GetName()+":complete", &referralv1.CompleteReferralRequest{
		Outcome: &referralv1.Referral_Outcome{DistressAfter: &after, Helped: referralv1.Referral_Outcome_YES, Note: "She will come again next week."},
	}, w.referral)
}

func (w *walk) timeline(ctx context.Context) error {
	w.say("The hospital", "reads the outcome and the whole way: the loop is closed.", "GET /v1/referrals/…, GET /v1/referrals/…/events")
	if err := w.becomes(ctx, referralv1.Referral_COMPLETED); err != nil {
		return err
	}
	o := w.referral.GetOutcome()
	w.detail("helped: %s, sessions attended: %d, distress change: %d, accepted after %s, first session after %s", o.GetHelped(), o.GetSessionsAttended(),
		o.GetDistressChange(), o.GetTimeToAcceptance().AsDuration().Round(time.Millisecond), o.GetTimeToFirstSession().AsDuration().Round(time.Millisecond))
	if o.GetSessionsAttended() != 1 || o.GetDistressChange() != -3 {
		return errors.New("the outcome is not what happened")
	}
	var events referralv1.ListReferralEventsResponse
	if err := w.hospital.Call(ctx, "GET", "/v1/"+w.referral.GetName()+"/events", nil, &events); err != nil {
		return err
	}
	for _, e := range events.GetReferralEvents() {
		w.detail("%s  %-9s %-24s %s", e.GetCreateTime().AsTime().Format("15:04:05.000"), strings.ToLower(e.GetParty().String()), e.GetAction(), e.GetToState())
	}
	return nil
}

// becomes reads the referral, as the hospital, until it is in the state.
func (w *walk) becomes(ctx context.Context, state referralv1.Referral_State) error {
	return w.until(ctx, "the referral is "+state.String(), func() (bool, error) {
		err := w.hospital.Call(ctx, "GET", "/v1/"+w.referral.GetName(), nil, w.referral)
		return w.referral.GetState() == state, err
	})
}

func (w *walk) until(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s, but not: %s", patience, what)
		case <-tick.C:
		}
	}
}
