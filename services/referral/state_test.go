package referral

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// want restates the machine in one line for each state: every step that is legal, nothing else.
// R = referrer, O = owner (receiver), S = system.
var want = map[state]string{
	draft:            "SEND:R>SENT REQUEST_CANCEL:R>CANCELLED EXPIRE:S>CANCELLED",
	sent:             "CLAIM:O>SENT ACCEPT:O>ACCEPTED REJECT:O>REJECTED REQUEST_CANCEL:R>CANCEL_REQUESTED EXPIRE:S>FAILED REASSIGN:RS>SENT UNASSIGN:RS>SENT",
	accepted:         "WAITLIST:S>WAITLISTED SCHEDULE:OS>SCHEDULED RECORD_ENGAGEMENT:OS>ENGAGED REJECT:O>REJECTED REQUEST_CANCEL:R>CANCEL_REQUESTED COMPLETE:O>COMPLETED",
	waitlisted:       "SEAT:S>ACCEPTED UNSEAT:S>ACCEPTED REJECT:O>REJECTED REQUEST_CANCEL:R>CANCEL_REQUESTED COMPLETE:O>COMPLETED",
	scheduled:        "SCHEDULE:OS>SCHEDULED RECORD_NO_SHOW:OS>NO_SHOW RECORD_SESSION_CANCELLATION:OS>SESSION_CANCELLED RECORD_ENGAGEMENT:OS>ENGAGED REJECT:O>REJECTED REQUEST_CANCEL:R>CANCEL_REQUESTED COMPLETE:O>COMPLETED",
	noShow:           "SCHEDULE:OS>SCHEDULED RECORD_SESSION_CANCELLATION:O>SESSION_CANCELLED REJECT:O>REJECTED REQUEST_CANCEL:R>CANCEL_REQUESTED",
	sessionCancelled: "SCHEDULE:OS>SCHEDULED REJECT:O>REJECTED REQUEST_CANCEL:R>CANCEL_REQUESTED",
	engaged:          "RECORD_ENGAGEMENT:OS>ENGAGED SCHEDULE:O>SCHEDULED RECORD_SESSION_CANCELLATION:O>SESSION_CANCELLED REJECT:O>REJECTED REQUEST_CANCEL:R>CANCEL_REQUESTED COMPLETE:O>COMPLETED",
	cancelRequested:  "CONFIRM_CANCEL:OS>CANCELLED COMPLETE:O>COMPLETED",
	cancelled:        "",
	rejected:         "",
	completed:        "",
	failed:           "",
}

var letters = map[byte]party{'R': referrer, 'O': receiver, 'S': system}

func states() []state {
	var all []state
	for n := range referralv1.Referral_State_name {
		if n != 0 {
			all = append(all, state(n))
		}
	}
	slices.Sort(all)
	return all
}

func TestMachineIsExactlyTheTable(t *testing.T) {
	t.Parallel()
	type key struct {
		from state
		a    action
		by   party
	}
	legal := map[key]state{}
	for from, line := range want {
		for step := range strings.FieldsSeq(line) {
			name, rest, _ := strings.Cut(step, ":")
			by, to, _ := strings.Cut(rest, ">")
			for i := range len(by) {
				legal[key{from, action(referralv1.ReferralEvent_Action_value[name]), letters[by[i]]}] = state(referralv1.Referral_State_value[to])
			}
		}
	}
	if len(want) != len(states()) {
		t.Fatalf("the table here has %d states, the contract %d", len(want), len(states()))
	}
	for _, from := range states() {
		for n := range referralv1.ReferralEvent_Action_name {
			for p := range referralv1.Referral_Party_name {
				k := key{from, action(n), party(p)}
				got, ok := next(k.from, k.a, k.by)
				wantTo, wantOK := legal[k]
				if ok != wantOK || got != wantTo {
					t.Errorf("%s --%s by %s--> got %s %v, want %s %v", k.from, k.a, k.by, got, ok, wantTo, wantOK)
				}
			}
		}
	}
	rows := map[string]bool{}
	for _, tr := range transitions {
		k := fmt.Sprint(tr.from, tr.action)
		if rows[k] {
			t.Errorf("%s %s stands twice in the table", tr.from, tr.action)
		}
		rows[k] = true
	}
}

func TestEveryStateIsProjectedAndOwned(t *testing.T) {
	t.Parallel()
	for _, s := range states() {
		p, ok := projections[s]
		if !ok || p.task == "" || p.serviceRequest == "" {
			t.Errorf("%s has no projection: %+v", s, p)
		}
		if p.task == "ready" || p.task == "received" {
			t.Errorf("%s: SDOHCC forbids Task.status %s", s, p.task)
		}
		if _, owned := duties[s]; owned == ended(s) {
			t.Errorf("%s: ended is %v and somebody has to act is %v", s, ended(s), owned)
		}
	}
}

func TestEveryActionHasAnEvent(t *testing.T) {
	t.Parallel()
	for _, tr := range transitions {
		if eventTypes[tr.action] == "" {
			t.Errorf("%s tells nobody", tr.action)
		}
		if mayTake(tr.action, referrer) || mayTake(tr.action, receiver) {
			if verbs[tr.action] == "" {
				t.Errorf("%s can be taken by a caller but has no verb", tr.action)
			}
		}
	}
}

// bser restates the 34 transitions of BSeR's harmonised table, in the form of the published file.
const bser = `tid,actor,trigger_event,from_task_status,from_business_status,to_task_status,to_business_status
01,Referral Initiator,Send Referral Package,draft,,received,2.0
02,Referral Recipient,Send Acceptance,received,2.0,accepted,3.0
03,Referral Recipient,Send Decline,received,2.0,rejected,4.0
04,Referral Initiator,Send Cancelation Request,received,2.0,in-progress,5.2
05,Referral Recipient,Send Decline,accepted,3.0,rejected,4.0
06,Referral Recipient,Send Schedule Visit Information,accepted,3.0,in-progress,5.1.1
07,Referral Initiator,Send Cancelation Request,accepted,3.0,in-progress,5.2
08,Referral Recipient,Send Interim Consultation Note,accepted,3.0,in-progress,5.1.4
09,Referral Recipient,Send Referral Outcome,accepted,3.0,completed,7.0
10,Referral Recipient,Send Decline,in-progress,5.1.1,rejected,4.0
11,Referral Recipient,Send rescheduled visit information,in-progress,5.1.1,in-progress,5.1.1
12,Referral Recipient,Send No Show Information,in-progress,5.1.1,in-progress,5.1.2
13,Referral Recipient,Send appointment cancel,in-progress,5.1.1,in-progress,5.1.3
14,Referral Initiator,Send Cancelation Request,in-progress,5.1.1,in-progress,5.2
15,Referral Recipient,Send Interim Consultation Note,in-progress,5.1.1,in-progress,5.1.4
16,Referral Recipient,Send Referral Outcome,in-progress,5.1.1,completed,7.0
17,Referral Recipient,Send Decline,in-progress,5.1.2,rejected,4.0
18,Referral Recipient,Send rescheduled visit information,in-progress,5.1.2,in-progress,5.1.1
19,Referral Recipient,Send appointment cancel,in-progress,5.1.2,in-progress,5.1.3
20,Referral Initiator,Send Cancelation Request,in-progress,5.1.2,in-progress,5.2
21,Referral Recipient,Send Schedule Visit Information,in-progress,5.1.3,in-progress,5.1.1
22,Referral Initiator,Send Cancelation Request,in-progress,5.1.3,in-progress,5.2
23,Referral Recipient,Send Cancelation Confirmation,in-progress,5.2,cancelled,6.0
24,Referral Recipient,Send Referral Outcome,in-progress,5.2,completed,7.0
25,Referral Recipient,Send Decline,in-progress,5.1.4,rejected,4.0
26,Referral Recipient,Send Schedule Visit Information,in-progress,5.1.4,in-progress,5.1.1
27,Referral Recipient,Send appointment cancel,in-progress,5.1.4,in-progress,5.1.3
28,Referral Initiator,Send Cancelation Request,in-progress,5.1.4,in-progress,5.2
29,Referral Recipient,Send Interim Consultation Note,in-progress,5.1.4,in-progress,5.1.4
30,Referral Recipient,Send Referral Outcome,in-progress,5.1.4,completed,7.0
31,Referral Recipient,Send Schedule Visit Information,accepted,3.0,in-progress,5.1
32,Referral Recipient,Send Interim Consultation Note,accepted,3.0,in-progress,5.1
33,Referral Recipient,Send Decline,in-progress,5.1,rejected,4.0
34,Referral Initiator,Send Cancelation Request,in-progress,5.1,in-progress,5.2
`

var bserActors = map[string]party{"Referral Initiator": referrer, "Referral Recipient": receiver}

var bserTriggers = map[string]action{
	"Send Referral Package":              send,
	"Send Acceptance":                    accept,
	"Send Decline":                       reject,
	"Send Cancelation Request":           requestCancel,
	"Send Schedule Visit Information":    schedule,
	"Send rescheduled visit information": schedule,
	"Send No Show Information":           recordNoShow,
	"Send appointment cancel":            recordSessionOff,
	"Send Interim Consultation Note":     recordEngagement,
	"Send Referral Outcome":              complete,
	"Send Cancelation Confirmation":      confirmCancel,
}

// isBSeR tells whether a state shows itself as the status; 5.1 is whatever is below it.
func isBSeR(s state, status, business string) bool {
	p := projections[s]
	return p.bser == status && (p.bserBusiness == business || business == "5.1" && strings.HasPrefix(p.bserBusiness, "5.1."))
}

type bserRow struct {
	id, fromStatus, fromBusiness, toStatus, toBusiness string
	by                                                 party
	a                                                  action
}

func bserRows(t *testing.T, text string) []bserRow {
	t.Helper()
	records, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []bserRow
	for _, r := range records[1:] {
		row := bserRow{id: r[0], by: bserActors[r[1]], a: bserTriggers[r[2]], fromStatus: r[3], fromBusiness: r[4], toStatus: r[5], toBusiness: r[6]}
		if row.by == nobody || row.a == 0 {
			t.Fatalf("row %v: actor or trigger unknown", r)
		}
		rows = append(rows, row)
	}
	if len(rows) != 34 {
		t.Fatalf("got %d rows, want 34", len(rows))
	}
	return rows
}

// sharedData returns a file of the data shared beside the repository, skipping the test where there is none.
func sharedData(t *testing.T, path string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
		if filepath.Dir(dir) == dir {
			t.Skip("not in the repository")
		}
		dir = filepath.Dir(dir)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "..", "shared", "data", path))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no shared data here: " + path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func testBSeR(t *testing.T, text string) {
	t.Helper()
	for _, row := range bserRows(t, text) {
		held := 0
		for _, from := range states() {
			if !isBSeR(from, row.fromStatus, row.fromBusiness) || from == waitlisted {
				continue
			}
			to, ok := next(from, row.a, row.by)
			if !ok || !isBSeR(to, row.toStatus, row.toBusiness) {
				t.Errorf("row %s: %s --%s by %s--> %s %v, want %s %s", row.id, from, row.a, row.by, to, ok, row.toStatus, row.toBusiness)
			}
			held++
		}
		if held == 0 {
			t.Errorf("row %s: no state shows itself as %s %s", row.id, row.fromStatus, row.fromBusiness)
		}
	}
	// WAITLISTED is 3.0 to BSeR: its rows hold, but a session needs a seat first.
	for _, row := range bserRows(t, text) {
		if row.fromBusiness != "3.0" || row.a == schedule {
			continue
		}
		steps := route(waitlisted, row.a, row.by)
		if len(steps) == 0 || !isBSeR(steps[len(steps)-1].to, row.toStatus, row.toBusiness) {
			t.Errorf("row %s from WAITLISTED: %v", row.id, steps)
		}
	}
	// And nothing that we do looks to BSeR like a step it does not know.
	rows := bserRows(t, text)
	for _, tr := range transitions {
		from, to := projections[tr.from], projections[tr.to]
		if from == to || tr.from == waitlisted || tr.to == waitlisted || tr.to == failed || tr.from == draft && tr.to == cancelled {
			continue
		}
		if !slices.ContainsFunc(rows, func(r bserRow) bool {
			return isBSeR(tr.from, r.fromStatus, r.fromBusiness) && isBSeR(tr.to, r.toStatus, r.toBusiness) && r.a == tr.action && slices.Contains(tr.by, r.by)
		}) {
			t.Errorf("BSeR has no row for %s --%s--> %s", tr.from, tr.action, tr.to)
		}
	}
}

func TestBSeRRowsHold(t *testing.T) {
	t.Parallel()
	testBSeR(t, bser)
}

func TestBSeRPublishedFileHolds(t *testing.T) {
	t.Parallel()
	testBSeR(t, sharedData(t, "fhir/bser/harmonized-state-transitions.csv"))
}

// An attendance between two BSeR rows takes both.
func TestRoutesGoThroughBSeRRows(t *testing.T) {
	t.Parallel()
	for _, from := range []state{noShow, sessionCancelled, waitlisted} {
		for _, by := range []party{receiver, system} {
			steps := route(from, recordEngagement, by)
			if len(steps) != 2 || steps[0].from != from || steps[0].to != steps[1].from || steps[1].to != engaged {
				t.Errorf("%s by %s: got %v", from, by, steps)
			}
			for _, s := range steps {
				if to, ok := next(s.from, s.action, s.by[0]); !ok || to != s.to {
					t.Errorf("%s by %s: step %v is not in the table", from, by, s)
				}
			}
		}
		if steps := route(from, recordEngagement, referrer); steps != nil {
			t.Errorf("%s: the referrer can record engagement: %v", from, steps)
		}
	}
}

// sdohcc restates who may ask for which Task.status under SDOHCC.
var sdohcc = map[string]string{
	"draft": "", "requested": "R", "received": "", "accepted": "O", "rejected": "O", "ready": "", "cancelled": "RO",
	"in-progress": "O", "on-hold": "O", "failed": "O", "completed": "O", "entered-in-error": "",
}

func TestSDOHCCSetters(t *testing.T) {
	t.Parallel()
	for code, by := range sdohcc {
		for _, p := range []party{referrer, receiver} {
			may := strings.ContainsFunc(by, func(r rune) bool { return letters[byte(r)] == p })
			if got := slices.Contains(taskSetters[code], p); got != may {
				t.Errorf("%s may set %s: got %v, want %v", p, code, got, may)
			}
		}
	}
	// Whatever a party's step makes of Task.status, that party may set; the system acts for the owner.
	for _, tr := range transitions {
		from, to := projections[tr.from].task, projections[tr.to].task
		if from == to || tr.action == requestCancel { // asking to stop leaves the answer, and the status, to the owner
			continue
		}
		for _, by := range tr.by {
			if by == system {
				by = receiver
			}
			if !slices.Contains(taskSetters[to], by) {
				t.Errorf("%s --%s--> %s sets %s, which %s may not", tr.from, tr.action, tr.to, to, by)
			}
		}
	}
}

// The published task statuses are the ones that the tables here know.
func TestSDOHCCFilesAgree(t *testing.T) {
	t.Parallel()
	var vs struct {
		Compose struct {
			Include []struct {
				ValueSet []string `json:"valueSet"`
			} `json:"include"`
		} `json:"compose"`
	}
	if err := json.Unmarshal([]byte(sharedData(t, "fhir/sdohcc/ValueSet-SDOHCC-ValueSetReferralTaskStatus.json")), &vs); err != nil {
		t.Fatal(err)
	}
	if len(vs.Compose.Include) != 1 || !slices.Equal(vs.Compose.Include[0].ValueSet, []string{"http://hl7.org/fhir/ValueSet/task-status"}) {
		t.Errorf("the value set no longer stands on FHIR's task-status: %+v", vs.Compose)
	}
	for s, p := range projections {
		if _, known := sdohcc[p.task]; !known {
			t.Errorf("%s: %q is no FHIR task status", s, p.task)
		}
	}
	var task struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal([]byte(sharedData(t, "fhir/sdohcc/Task-SDOHCC-TaskReferralManagementOrderFulfillmentAcceptedExample.json")), &task); err != nil {
		t.Fatal(err)
	}
	if got := projections[accepted].task; got != task.Status {
		t.Errorf("an accepted referral shows as %q, the published example as %q", got, task.Status)
	}
}

func TestCheckSaysWhatIsAllowed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from    state
		a       action
		parties []party
		code    codes.Code
		says    []string
	}{
		{scheduled, accept, []party{referrer}, codes.PermissionDenied, []string{"accept is for the receiver", "the referrer"}},
		{sent, requestCancel, []party{receiver}, codes.PermissionDenied, []string{"cancel is for the referrer"}},
		{completed, accept, []party{receiver}, codes.FailedPrecondition, []string{"COMPLETED", "it has ended"}},
		{accepted, accept, []party{receiver}, codes.FailedPrecondition, []string{"ACCEPTED", ":schedule", ":complete"}},
		{cancelRequested, requestCancel, []party{referrer}, codes.FailedPrecondition, []string{"other side's turn"}},
		{sent, accept, []party{receiver}, codes.OK, nil},
		{noShow, recordEngagement, []party{receiver}, codes.OK, nil},
	} {
		_, err := check("referrals/x", c.from, c.a, c.parties)
		if got := status.Code(err); got != c.code {
			t.Errorf("%s %s: got %v, want %s", c.from, c.a, err, c.code)
		}
		for _, s := range c.says {
			if err == nil || !strings.Contains(err.Error(), s) {
				t.Errorf("%s %s: %v does not say %q", c.from, c.a, err, s)
			}
		}
	}
}
