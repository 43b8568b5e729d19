package fhir_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/durationpb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
)

// bookings is a hospital and a nonprofit whose group meets.
type bookings struct {
	*care
	planner  *planner
	sessions []*schedulingv1.Session
}

func newBookings(t *testing.T, edits ...func(*schedulingv1.Series)) *bookings {
	t.Helper()
	c := setupCare(t)
	c.Clock.Set(noon)
	b := &bookings{care: c, planner: plannerOf(c.site, c.nonprofit)}
	b.sessions = b.planner.weekly(c.group, edits...)
	return b
}

// placed refers somebody whom the group takes, and returns the ids of referral and Patient.
func (b *bookings) placed() (referral, patient string) {
	b.t.Helper()
	r := b.post(b.refers, b.request("active"))
	referral, _ = r["id"].(string)
	patient = strings.TrimPrefix(fmt.Sprint(at(r, "subject.reference")), "Patient/")
	calls := referralv1.NewReferralServiceClient(b.Conn("referral"))
	got, err := calls.AcceptReferral(b.planner.ctx, &referralv1.AcceptReferralRequest{Name: "referrals/" + referral})
	if err != nil {
		b.t.Fatalf("accept: %v", err)
	}
	if _, err := b.planner.members.AcknowledgeGuidelines(b.planner.ctx, &membershipv1.AcknowledgeGuidelinesRequest{Name: got.GetMembership()}); err != nil {
		b.t.Fatalf("acknowledge guidelines: %v", err)
	}
	return referral, patient
}

// wish is an Appointment as a hospital books one.
func (b *bookings) wish(s *schedulingv1.Session, referral, patient string) obj {
	out := obj{"resourceType": "Appointment", "status": "booked", "slot": list{obj{"reference": "Slot/" + slotID(s)}}}
	if referral != "" {
		out["basedOn"] = list{obj{"reference": "ServiceRequest/" + referral}}
	}
	people := list{obj{"actor": obj{"reference": "HealthcareService/" + b.group}, "status": "needs-action"}}
	if patient != "" {
		people = append(people, obj{"actor": obj{"reference": "Patient/" + patient}, "status": "accepted", "required": "required"})
	}
	out["participant"] = people
	return out
}

// await reads a resource until a member is as it should be.
func (b *bookings) await(path, member string, want any) obj {
	b.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-tick.C {
		got := b.get(path, b.refers).want(b.t, http.StatusOK)
		if at(got.json, member) == want {
			return got.json
		}
		if time.Now().After(end) {
			b.t.Fatalf("after 30 s %s of %s is %v, want %v", member, path, at(got.json, member), want)
		}
	}
}

// A hospital finds a slot, books it for the person that it referred, moves her to another by cancelling, and sees how it ends.
func TestAppointments(t *testing.T) {
	t.Parallel()
	b := newBookings(t)
	referral, patient := b.placed()
	found := b.get("/Slot?schedule.actor=HealthcareService/"+b.group+"&status=free&start=ge2027-03-08&_count=2", b.refers).want(t, http.StatusOK).ids()
	if !slices.Equal(found, []string{slotID(b.sessions[1]), slotID(b.sessions[2])}) {
		t.Fatalf("free slots are %v", found)
	}

	body := b.wish(b.sessions[1], referral, patient)
	body["start"], body["end"] = "2027-03-11T19:00:00-06:00", "2027-03-12T02:30:00Z"
	created := b.do(http.MethodPost, "/Appointment", b.refers, text(t, body)).want(t, http.StatusCreated)
	first := created.json
	id, _ := first["id"].(string)
	if want := b.url + "/Appointment/" + id; created.Header.Get("Location") != want {
		t.Errorf("Location %q, want %s", created.Header.Get("Location"), want)
	}
	expect(t, "created", first, obj{
		"status": "booked", "start": "2027-03-12T01:00:00.000000Z", "end": "2027-03-12T02:30:00.000000Z", "slot.0.reference": "Slot/" + found[0],
		"basedOn.0.reference": "ServiceRequest/" + referral, "participant.0.actor.reference": "Patient/" + patient, "participant.0.status": "accepted",
		"participant.1.actor.reference": "HealthcareService/" + b.group, "participant.2.actor.reference": "Location/" + b.group,
	})
	b.await("/Task/"+referral, "status", "in-progress")

	// Booked again by another way of saying it, or by the owner, it is the same.
	for bearer, again := range map[string]obj{b.refers: b.wish(b.sessions[1], "", patient), b.receives: b.wish(b.sessions[1], referral, "")} {
		if same := b.do(http.MethodPost, "/Appointment", bearer, text(t, again)).want(t, http.StatusCreated).json; same["id"] != id {
			t.Errorf("booked twice: %v, want %s", same["id"], id)
		}
	}
	key := uuid.NewString()
	second := b.do(http.MethodPost, "/Appointment", b.refers, text(t, b.wish(b.sessions[2], referral, "")), "Idempotency-Key", key).want(t, http.StatusCreated).json
	repeated := b.do(http.MethodPost, "/Appointment", b.refers, text(t, b.wish(b.sessions[2], referral, "")), "Idempotency-Key", key).want(t, http.StatusCreated).json
	if text(t, second) != text(t, repeated) {
		t.Errorf("repeated: %v, want %v", repeated, second)
	}
	two, _ := second["id"].(string)

	for query, want := range map[string][]string{
		"": {id, two}, "?patient=Patient/" + patient: {id, two}, "?patient=" + patient: {id, two}, "?patient=" + uuid.NewString(): {},
		"?slot=Slot/" + found[1]: {two}, "?based-on=ServiceRequest/" + referral: {id, two}, "?based-on=" + uuid.NewString(): {},
		"?actor=HealthcareService/" + b.group: {id, two}, "?actor=Patient/" + patient: {id, two}, "?actor=Location/" + uuid.NewString(): {},
		"?status=booked": {id, two}, "?status=cancelled,noshow": {}, "?date=ge2027-03-12&date=lt2027-03-14": {id}, "?_id=" + two: {two},
		"?_lastUpdated=lt2020-01-01": {}, "?_sort=date&_count=1": {id},
	} {
		if got := b.get("/Appointment"+query, b.refers).want(t, http.StatusOK).ids(); !slices.Equal(got, want) {
			t.Errorf("%s finds %v, want %v", query, got, want)
		}
	}
	with := b.get("/Appointment?_id="+id+"&_include=Appointment:slot&_include=Appointment:patient&_include=Appointment:based-on&_include=Appointment:actor:Location", b.refers).want(t, http.StatusOK)
	var kinds []string
	for _, r := range with.resources("include") {
		kinds = append(kinds, fmt.Sprint(r["resourceType"]))
	}
	if slices.Sort(kinds); !slices.Equal(kinds, []string{"Location", "Patient", "ServiceRequest", "Slot"}) {
		t.Errorf("_include: %v", kinds)
	}
	if rev := b.get("/ServiceRequest?_id="+referral+"&_revinclude=Appointment:based-on", b.refers).want(t, http.StatusOK).resources("include"); len(rev) != 2 {
		t.Errorf("_revinclude: %v", rev)
	}

	slots := b.get("/Slot?schedule.actor=HealthcareService/"+b.group+"&_count=100&_revinclude=Appointment:slot", b.refers).want(t, http.StatusOK)
	if n := len(slots.ids()); n < 40 {
		t.Errorf("%d slots; more than a filter can name are wanted", n)
	}
	if rev := slots.resources("include"); len(rev) != 2 {
		t.Errorf("_revinclude of a page of slots: %v", rev)
	}
	many := "ServiceRequest/" + referral
	for range 150 {
		many += "," + uuid.NewString()
	}
	if got := b.get("/Appointment?based-on="+many, b.refers).want(t, http.StatusOK).ids(); !slices.Equal(got, []string{id, two}) {
		t.Errorf("of many referrals: %v", got)
	}

	// Sent back as it was, it stays; another version is refused; cancelled, her place is free.
	b.put(b.refers, first, "If-Match", `W/"1"`).want(t, http.StatusOK)
	changed := maps.Clone(first)
	changed["status"], changed["cancelationReason"] = "cancelled", coding("http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason", "pat-cpp")
	b.put(b.refers, changed, "If-Match", `W/"99"`).want(t, http.StatusPreconditionFailed)
	gone := b.put(b.refers, changed, "If-Match", `W/"1"`).want(t, http.StatusOK).json
	expect(t, "cancelled", gone, obj{"status": "cancelled", "cancelationReason.coding.0.code": "pat", "participant.0.status": "declined", "meta.versionId": "2"})
	if again := b.put(b.refers, gone).want(t, http.StatusOK).json; again["status"] != "cancelled" {
		t.Errorf("cancelled twice: %v", again)
	}
	back := maps.Clone(gone)
	back["status"], back["participant"] = "booked", first["participant"]
	delete(back, "cancelationReason")
	if got := b.put(b.refers, back).want(t, http.StatusUnprocessableEntity).issues(); !strings.HasPrefix(got[0], "business-rule Appointment.status:") {
		t.Errorf("booked by an update: %v", got)
	}
	if again := b.post(b.refers, b.wish(b.sessions[1], referral, "")); again["id"] != id || again["status"] != "booked" || again["cancelationReason"] != nil {
		t.Errorf("booked after it was cancelled: %v", again)
	}

	// It is kept current.
	if _, err := b.planner.sessions.MoveSession(b.planner.ctx, &schedulingv1.MoveSessionRequest{
		Name: b.sessions[2].GetName(), LocalStart: "2027-03-19T18:00", Duration: durationpb.New(time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	b.await("/Appointment/"+two, "start", "2027-03-19T23:00:00.000000Z")
	if _, err := b.planner.sessions.CancelSession(b.planner.ctx, &schedulingv1.CancelSessionRequest{Name: b.sessions[2].GetName(), Reason: "Snow."}); err != nil {
		t.Fatal(err)
	}
	b.await("/Appointment/"+two, "status", "cancelled")
	expect(t, "the session is off", b.get("/Appointment/"+two, b.refers).json, obj{"cancelationReason.coding.0.code": "prov", "participant.1.status": "declined"})
	b.Clock.Set(b.sessions[1].GetStartTime().AsTime().Add(time.Hour))
	membership := "memberships/" + b.membershipOf(referral)
	if _, err := b.planner.sessions.RecordAttendance(b.planner.ctx, &schedulingv1.RecordAttendanceRequest{
		Session: b.sessions[1].GetName(), Entries: []*schedulingv1.RecordAttendanceRequest_Entry{{Membership: membership, Status: schedulingv1.Attendance_PRESENT}},
	}); err != nil {
		t.Fatal(err)
	}
	ended := b.await("/Appointment/"+id, "status", "fulfilled")
	late := maps.Clone(ended)
	late["status"] = "cancelled"
	if got := b.put(b.refers, late).want(t, http.StatusUnprocessableEntity); !strings.Contains(string(got.body), "SESSION_BEGUN") {
		t.Errorf("cancelled after it was: %s", got.body)
	}
}

func (b *bookings) membershipOf(referral string) string {
	b.t.Helper()
	r, err := referralv1.NewReferralServiceClient(b.Conn("referral")).GetReferral(b.planner.ctx, &referralv1.GetReferralRequest{Name: "referrals/" + referral})
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.TrimPrefix(r.GetMembership(), "memberships/")
}

// All places taken, she waits, and who waits gets the place that becomes free.
func TestAppointmentsWait(t *testing.T) {
	t.Parallel()
	b := newBookings(t, func(s *schedulingv1.Series) { s.OnlineSeats = 1 })
	one, _ := b.placed()
	two, _ := b.placed()
	has, waits := b.post(b.refers, b.wish(b.sessions[1], one, "")), b.post(b.refers, b.wish(b.sessions[1], two, ""))
	if has["status"] != "booked" || waits["status"] != "waitlist" {
		t.Fatalf("%v and %v, want booked and waitlist", has["status"], waits["status"])
	}
	if got := b.get("/Slot/"+slotID(b.sessions[1]), "").want(t, http.StatusOK); got.json["status"] != "busy" {
		t.Errorf("the slot is %v, want busy", got.json["status"])
	}
	has["status"] = "cancelled"
	b.put(b.refers, has).want(t, http.StatusOK)
	b.await(fmt.Sprint("/Appointment/", waits["id"]), "status", "booked")
}

func TestAppointmentsThatAreNone(t *testing.T) {
	t.Parallel()
	b := newBookings(t)
	referral, patient := b.placed()
	sent := b.post(b.refers, b.request("active"))
	other := b.planner.group()
	elsewhere := b.planner.weekly(other, func(s *schedulingv1.Series) { s.LocalStart = "2027-03-05T10:00" })
	stranger := newCare(t, b.site)

	good := func(edits ...func(obj)) obj {
		body := b.wish(b.sessions[1], referral, patient)
		for _, e := range edits {
			e(body)
		}
		return body
	}
	set := func(name string, v any) func(obj) {
		return func(body obj) {
			if body[name] = v; v == nil {
				delete(body, name)
			}
		}
	}
	refer := func(to string) list { return list{obj{"reference": to}} }
	for name, tt := range map[string]struct {
		body   obj
		bearer string
		status int
		want   string // beginning of the issue
	}{
		"no slot":                     {good(set("slot", nil)), b.refers, 400, "required Appointment.slot:"},
		"two slots":                   {good(set("slot", list{obj{"reference": "Slot/" + slotID(b.sessions[1])}, obj{"reference": "Slot/" + slotID(b.sessions[2])}})), b.refers, 400, "required Appointment.slot:"},
		"a slot of others":            {good(set("slot", refer("https://ehr.test/Slot/1"))), b.refers, 400, "value Appointment.slot[0].reference:"},
		"an unknown slot":             {good(set("slot", refer("Slot/"+uuid.NewString()))), b.refers, 422, "not-found Appointment.slot:"},
		"another group's slot":        {b.wish(elsewhere[1], referral, ""), b.refers, 422, "value Appointment.participant:"},
		"nobody":                      {b.wish(b.sessions[1], "", ""), b.refers, 400, "required Appointment.participant:"},
		"an unknown referral":         {b.wish(b.sessions[1], uuid.NewString(), ""), b.refers, 422, "not-found Appointment.basedOn:"},
		"an unknown person":           {b.wish(b.sessions[1], "", uuid.NewString()), b.refers, 422, "business-rule Appointment.participant:"},
		"another person":              {b.wish(b.sessions[1], fmt.Sprint(sent["id"]), patient), b.refers, 422, "value Appointment.participant:"},
		"nobody has accepted her":     {b.wish(b.sessions[1], fmt.Sprint(sent["id"]), ""), b.refers, 422, "business-rule: the referral is sent"},
		"another start":               {good(set("start", "2027-03-11T18:00:00-06:00")), b.refers, 422, "value Appointment.start:"},
		"another status":              {good(set("status", "arrived")), b.refers, 422, "business-rule Appointment.status:"},
		"a comment":                   {good(set("comment", "She is afraid.")), b.refers, 400, "not-supported Appointment.comment:"},
		"a priority":                  {good(set("priority", 1)), b.refers, 400, "not-supported Appointment.priority:"},
		"an unknown extension":        {good(set("extension", list{obj{"url": "urn:x", "valueCode": "y"}})), b.refers, 400, "not-supported Appointment.extension[0]:"},
		"a way that it is not held":   {good(set("extension", list{obj{"url": ownURLs + "appointment-way", "valueCode": "in-person"}})), b.refers, 422, "business-rule"},
		"a reason, but not cancelled": {good(set("cancelationReason", coding("urn:x", "y"))), b.refers, 400, "invariant Appointment.cancelationReason:"},
		"a practitioner":              {good(set("participant", list{obj{"actor": obj{"reference": "Practitioner/1"}, "status": "accepted"}})), b.refers, 400, "value Appointment.participant[0].actor.reference:"},
		"no participants":             {good(set("participant", nil)), b.refers, 400, "required Appointment.participant:"},
		"a stranger":                  {b.wish(b.sessions[1], referral, ""), stranger.refers, 422, "not-found Appointment.basedOn:"},
		"a stranger, by the person":   {b.wish(b.sessions[1], "", patient), stranger.refers, 422, "business-rule Appointment.participant:"},
		"no scope":                    {good(), token("organizations/"+b.hospital, "", "system/Appointment.rs"), 403, "forbidden:"},
		"no token":                    {good(), "", 401, "login:"},
	} {
		got := b.do(http.MethodPost, "/Appointment", tt.bearer, text(t, tt.body))
		issues := got.issues()
		right := got.StatusCode == tt.status || tt.status == 400 && got.StatusCode == 422
		if !right || !slices.ContainsFunc(issues, func(i string) bool { return strings.HasPrefix(i, tt.want) }) {
			t.Errorf("%s: %d %v; want %d %q", name, got.StatusCode, issues, tt.status, tt.want)
		}
	}
	if got := b.get("/Appointment", b.refers).want(t, http.StatusOK).ids(); len(got) != 0 {
		t.Errorf("something was booked: %v", got)
	}

	made := b.post(b.refers, good())
	path := fmt.Sprint("/Appointment/", made["id"])
	b.get(path, stranger.refers).want(t, http.StatusNotFound)
	b.get(path, "").want(t, http.StatusUnauthorized)
	b.get("/Appointment/none", b.refers).want(t, http.StatusNotFound)
	b.get(path, b.receives).want(t, http.StatusOK)
	if got := b.get("/Appointment?patient="+patient, stranger.refers).want(t, http.StatusOK).ids(); len(got) != 0 {
		t.Errorf("a stranger finds %v", got)
	}
	if got := b.get("/Appointment?_sort=-date", b.refers).want(t, http.StatusBadRequest).issues(); !strings.HasPrefix(got[0], "not-supported") {
		t.Errorf("sorted backwards: %v", got)
	}
	foreign := maps.Clone(made)
	foreign["status"] = "cancelled"
	b.put(stranger.refers, foreign).want(t, http.StatusNotFound)
	for name, v := range map[string]any{
		"slot": refer("Slot/" + slotID(b.sessions[2])), "basedOn": refer(fmt.Sprint("ServiceRequest/", sent["id"])), "end": "2027-03-12T03:00:00Z",
	} {
		other := maps.Clone(made)
		if other[name] = v; name == "slot" {
			delete(other, "start")
			delete(other, "end")
		}
		if got := b.put(b.refers, other).want(t, http.StatusUnprocessableEntity).issues(); !strings.Contains(got[0], "Appointment."+name) {
			t.Errorf("%s changed: %v", name, got)
		}
	}
}
