package fhir

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/formats/fhir/r4"
)

// task is referrals as they are worked on: of the referral service.
func task() *resource {
	return &resource{
		kind: "Task", reads: []string{"referrals.read"}, writes: []string{"referrals.write"},
		doc: "The work on a referral. It has the id of its ServiceRequest and is there as soon as that is. Its status is moved by a PUT, by the party that the guide of the client allows " +
			"(SDOHCC: the requester asks and withdraws, the owner answers, reports and may give up; BSeR: its state machine, with businessStatus), and by what happens in groups and sessions. " +
			"A POST sends the draft that it has as focus. An owner that asks who is new searches with owner, status and _lastUpdated; no change is ever missed by that. " +
			"What no organization owns yet a nonprofit finds with owner:missing=true, without anything personal, and claims by a PUT with itself as owner.",
		profiles: []string{sdohccDefinitions + "SDOHCC-TaskForReferralManagement", bserReferralTask},
		read:     readTaskResource, readAll: readTasks, vread: vreadTask, history: taskHistory, search: searchTasks,
		create: createTask, update: updateTask,
		params: append(referralParams(),
			param{name: "owner", kind: referenceParam, or: true, modifiers: []string{"missing"}, targets: []string{"Organization"}, doc: "The organization that is asked to help. owner:missing=true with status=requested (BSeR: received), and nothing else, finds what a nonprofit may claim; " +
				"with requester=Organization/{yours}, or for a hospital anyhow, your own referrals that nobody owns."},
			param{name: "requester", kind: referenceParam, or: true, targets: []string{"Organization"}, doc: "The organization that refers."},
			param{name: "focus", kind: referenceParam, or: true, targets: []string{"ServiceRequest"}, doc: "The referral as a ServiceRequest."},
			param{name: "focus.subject", kind: referenceParam, or: true, targets: []string{"Patient"}, doc: "The person who is referred."},
			param{name: "focus.subject.identifier", kind: tokenParam, or: true, personal: true, doc: "A number of the person's, system|value; of your own patients."},
			param{name: "status", kind: tokenParam, or: true, doc: "Task.status, by the guide of the client."},
			param{name: "business-status", kind: tokenParam, or: true, doc: "Task.businessStatus: of BSeR, or Cairn's own state."},
			param{name: "code", kind: tokenParam, or: true, doc: "fulfill: every Task has it."},
			param{name: "authored-on", kind: dateParam, and: true, doc: "When the referral was written, as it is shown."},
			param{name: "modified", kind: dateParam, and: true, doc: "The same as _lastUpdated."},
		),
		sorts: []string{"_lastUpdated", "modified", "authored-on"},
		includes: []include{
			{param: "focus", target: "ServiceRequest", reverse: true, of: ofTask(func(b *r4.Task) *r4.Reference { return b.Focus })},
			{param: "patient", target: "Patient", reverse: true, of: ofTask(func(b *r4.Task) *r4.Reference { return b.For })},
			{param: "subject", target: "Patient", reverse: true, of: ofTask(func(b *r4.Task) *r4.Reference { return b.For })},
			{param: "owner", target: "Organization", of: ofTask(func(b *r4.Task) *r4.Reference { return b.Owner })},
			{param: "requester", target: "Organization", of: ofTask(func(b *r4.Task) *r4.Reference { return b.Requester })},
		},
		fields: map[string]string{
			"status":             "Task.status",
			"business_status":    "Task.businessStatus",
			"reject_reason":      "Task.statusReason",
			"note":               "Task.statusReason.text",
			"group":              "Task.output",
			"session":            "Task.output",
			"session_time":       "Task.output",
			"attend_time":        "Task.output",
			"outcome":            "Task.output",
			"filler_number":      "Task.identifier",
			"filler_system":      "Task.identifier.system",
			"etag":               "Task.meta.versionId",
			"owner_organization": "Task.owner",
			"organization":       "Task.owner",
		},
	}
}

func ofTask(of func(*r4.Task) *r4.Reference) func(any) []string {
	return func(body any) []string {
		b, ok := body.(*r4.Task)
		if !ok {
			return nil
		}
		if ref := of(b); ref != nil {
			return []string{ref.Reference}
		}
		return nil
	}
}

// taskItem shows a referral as a Task.
func taskItem(guide string, r *referralv1.Referral) *item {
	it := &item{kind: "Task", id: idIn(r.GetName()), version: revisionOf(r.GetEtag()), updated: changed(r)}
	it.body = taskBody(meta(it.version, it.updated, taskProfiles(guide, r)...), guide, r)
	return it
}

func readTaskResource(ctx context.Context, c *call, id string) (*item, error) {
	r, err := c.referral(ctx, "Task", id)
	if err != nil {
		return nil, err
	}
	return taskItem(c.profile, r), nil
}

func readTasks(ctx context.Context, c *call, ids []string) ([]*item, error) {
	return c.referralItems(ctx, ids, taskItem)
}

func vreadTask(ctx context.Context, c *call, id, version string) (*item, error) {
	return c.referralVersion(ctx, "Task", id, version, taskItem)
}

func taskHistory(ctx context.Context, c *call, id string, s *search) (*page, error) {
	return c.referralHistory(ctx, "Task", id, s, taskItem)
}

func searchTasks(ctx context.Context, c *call, s *search) (*page, error) {
	req, none, err := c.referralSearch(s)
	if err != nil || none {
		return &page{}, err
	}
	if none, err = taskParams(s, req); err != nil || none {
		return &page{}, err
	}
	if req.Owned != nil && !req.GetOwned() && len(req.GetOrganizations()) == 0 {
		if found, err := c.searchClaimable(ctx, s, req); found != nil || err != nil {
			return found, err
		}
	}
	return c.searchReferrals(ctx, s, req, taskItem)
}

// taskParams reads what only Tasks are searched by.
func taskParams(s *search, req *referralv1.SearchReferralsRequest) (none bool, err error) {
	take := func(name, collection string, into *[]string) {
		if ids, asked := s.ids(name); asked {
			none = none || len(ids) == 0
			*into = append(*into, names(collection, ids)...)
		}
	}
	if s.values("focus") != nil && s.values("_id") != nil {
		return false, malformed("not-supported", "", "focus and _id say the same here: leave one out")
	}
	take("focus", "referrals", &req.Referrals)
	take("focus.subject", "patients", &req.Patients)
	if missing := s.missing("owner"); missing != nil {
		req.Owned = ptr(!*missing)
	} else {
		take("owner", "organizations", &req.OwnerOrganizations)
	}
	take("requester", "organizations", &req.Organizations)
	for _, v := range s.values("focus.subject.identifier") {
		req.SubjectIdentifiers = append(req.SubjectIdentifiers, &referralv1.SearchReferralsRequest_Identifier{System: v.system, Value: v.code})
	}
	if wanted := s.values("status"); wanted != nil {
		req.TaskStatuses = named(wanted, "http://hl7.org/fhir/task-status",
			"draft", "requested", "received", "accepted", "rejected", "cancelled", "in-progress", "on-hold", "completed", "failed")
		none = none || req.TaskStatuses == nil
	}
	if wanted := s.values("business-status"); wanted != nil {
		req.BusinessStatuses = named(wanted, bserBusinessStatus, slices.Sorted(maps.Keys(bserBusinessWords))...)
		for number, name := range referralv1.Referral_State_name {
			if state := referralv1.Referral_State(number); state != 0 && hasToken(wanted, stateCodes, codeFor(state)) {
				req.BusinessStatuses = append(req.BusinessStatuses, name)
			}
		}
		slices.Sort(req.BusinessStatuses) // pages are of the same words
		none = none || req.BusinessStatuses == nil
	}
	if code := s.values("code"); code != nil && !hasToken(code, taskCodes, "fulfill") {
		none = true
	}
	if req.AuthorTime, err = timeRange(s, "authored-on"); err != nil {
		return false, err
	}
	if modified, err := timeRange(s, "modified"); err != nil || modified != nil {
		if req.ChangeTime != nil {
			return false, malformed("not-supported", "", "modified and _lastUpdated say the same here: leave one out")
		}
		req.ChangeTime = modified
		return none, err
	}
	return none, nil
}

// createTask sends the draft that a new Task has as its focus.
func createTask(ctx context.Context, c *call, doc *r4.Document) (*item, error) {
	b := &r4.Task{}
	r, err := newReader(doc, "Task", taskElements, b)
	if err != nil {
		return nil, err
	}
	focus := ""
	if b.Focus != nil {
		_, focus = idOf(c.base(), b.Focus.Reference, "ServiceRequest")
	}
	if focus == "" {
		return nil, unprocessable("required", "Task.focus", "is the ServiceRequest that the Task is to fulfill: ServiceRequest/{id}, a draft of yours, or an entry of the same transaction")
	}
	now, err := c.referral(ctx, "ServiceRequest", focus)
	if err != nil {
		return nil, err
	}
	sent := now.GetState() != referralv1.Referral_DRAFT
	taken := &refusal{409, "HAS_TASK", []r4.Issue{{Code: "duplicate", Expression: "Task.focus", Diagnostics: "that referral is sent, and has its Task: Task/" + focus}}}
	in := &intake{referral: &referralv1.Referral{}, r: r, subject: personOf(now).Reference}
	in.newTask(c, r, b)
	if group := now.GetRequestedGroup(); !sent && group != "" && in.referral.GetRequestedGroup() != "" && in.referral.GetRequestedGroup() != group {
		r.refuse("not-supported", "Task.owner", "one group is asked for at a time")
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	// What is called follows from the Task alone, not from how the referral stands: the same POST again is the same call, with its answer.
	mask := in.taskMask()
	switch {
	case len(mask) > 0:
		in.referral.Name = now.GetName()
		now, err = c.referrals.UpdateReferral(ctx, &referralv1.UpdateReferralRequest{
			Referral: in.referral, UpdateMask: &fieldmaskpb.FieldMask{Paths: mask}, Send: !in.draft, RequestId: c.requestID,
		})
	case !in.draft:
		now, err = c.referrals.SendReferral(ctx, &referralv1.SendReferralRequest{Name: now.GetName(), RequestId: c.requestID})
	case sent:
		return nil, taken
	}
	if sent && status.Code(err) == codes.FailedPrecondition {
		return nil, taken
	}
	if err != nil {
		return nil, err
	}
	return taskItem(c.profile, c.wrote(now)), nil
}

// taskMask lists the fields of a draft that a new Task says.
func (in *intake) taskMask() []string {
	var mask []string
	m := in.referral
	for _, f := range []struct {
		path string
		said bool
	}{
		{"urgency", m.GetUrgency() != 0}, {"deadline", m.GetDeadline() != nil}, {"placer_number", m.GetPlacerNumber() != ""},
		{"placer_system", m.GetPlacerNumber() != ""}, {"requested_group", m.GetRequestedGroup() != ""}, {"owner_organization", m.GetOwnerOrganization() != ""},
	} {
		if f.said {
			mask = append(mask, f.path)
		}
	}
	return mask
}

// updateTask takes the step that a changed Task asks for.
func updateTask(ctx context.Context, c *call, id string, doc *r4.Document) (*item, error) {
	b := &r4.Task{}
	if err := doc.Decode(b); err != nil {
		return nil, err
	}
	now, err := c.claim(ctx, id, doc, b)
	etag := c.etag()
	switch {
	case err != nil:
		return nil, err
	case now == nil:
		if now, err = c.referral(ctx, "Task", id); err != nil {
			if _, none := errors.AsType[*refusal](err); none {
				err = c.unclaimedTask(ctx, id, b)
			}
			return nil, err
		}
	case b.Status != "accepted", now.GetAcceptTime() != nil: // only claimed, or the same call again
		return taskItem(c.profile, c.wrote(now)), nil
	case etag != "": // the claim has made a version
		etag = now.GetEtag()
	}
	shown := taskBody(nil, c.profile, now)
	if given, err := c.assign(ctx, doc, shown, now); err != nil || given != nil {
		return given, err
	}
	step, r, err := readChanged(doc, shown, c.profile)
	if err != nil {
		return nil, err
	}
	r.unchanged(c, step.body, shown)
	for _, n := range step.body.Note {
		step.request.Note, step.fields["note"] = joined(step.request.GetNote(), n.Text), "Task.note"
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	req := step.request
	req.Name, req.Etag, req.RequestId = now.GetName(), etag, c.requestID
	if now, err = c.records.StepTask(ctx, req); err != nil {
		return nil, &located{err, step.fields}
	}
	return taskItem(c.profile, c.wrote(now)), nil
}

// assign gives a referral to the owner that its referrer has put into its Task, and returns nil where that is not what a Task asks for.
func (c *call) assign(ctx context.Context, doc *r4.Document, shown *r4.Task, now *referralv1.Referral) (*item, error) {
	b := &r4.Task{}
	if err := doc.Decode(b); err != nil {
		return nil, err
	}
	if b.Owner == nil || b.Status != shown.Status || now.GetOrganization() != c.principal.Organization {
		return nil, nil //nolint:nilnil // see above
	}
	kind, id := idOf(c.base(), b.Owner.Reference, "Organization", "HealthcareService")
	req := &referralv1.AssignReferralRequest{Name: now.GetName(), Etag: c.etag(), RequestId: c.requestID}
	switch {
	case shown.Owner != nil && reference(kind, id) == shown.Owner.Reference:
		return nil, nil //nolint:nilnil // see above
	case kind == "" || !isUUID(id):
		return nil, unprocessable(noReference(b.Owner.Reference, kind), "Task.owner", "is an Organization or a HealthcareService here: search for one")
	case kind == "HealthcareService":
		req.RequestedGroup = "groups/" + id
	default:
		req.OwnerOrganization = "organizations/" + id
	}
	b.Owner = shown.Owner
	raw, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode Task: %w", err)
	}
	step, r, err := readChanged(&r4.Document{Type: doc.Type, Raw: raw, Paths: doc.Paths}, shown, c.profile)
	if err != nil {
		return nil, err
	}
	r.unchanged(c, step.body, shown)
	r.alone(step, "business-rule", "does not go with another owner, who changes by itself: put it another time")
	if err := r.err(); err != nil {
		return nil, err
	}
	given, err := c.process.AssignReferral(ctx, req)
	if err != nil {
		return nil, err
	}
	return taskItem(c.profile, c.wrote(given)), nil
}

// withoutShown takes out of a Task what its sender only sends back as it was read: it asks for nothing. stood is where the items that are
// left stood before.
func withoutShown(doc *r4.Document, shown *r4.Task) (trimmed *r4.Document, stood map[string][]int, err error) {
	sent := &r4.Task{}
	if err := doc.Decode(sent); err != nil {
		return nil, nil, err
	}
	stood = map[string][]int{}
	same := func(a, b any) bool {
		x, errX := json.Marshal(a)
		y, errY := json.Marshal(b)
		return errX == nil && errY == nil && string(x) == string(y)
	}
	sent.Output, stood["Task.output"] = without(sent.Output, func(o r4.TaskOutput) bool {
		return slices.ContainsFunc(shown.Output, func(s r4.TaskOutput) bool { return same(o, s) })
	})
	sent.Extension, stood["Task.extension"] = without(sent.Extension, func(e r4.Extension) bool { return e.Url == awaitingExtension })
	if same(sent.StatusReason, shown.StatusReason) {
		sent.StatusReason = nil
	}
	if sent.Status != shown.Status && same(sent.BusinessStatus, shown.BusinessStatus) {
		sent.BusinessStatus = nil
	}
	sent.Identifier, stood["Task.identifier"] = without(sent.Identifier, func(i r4.Identifier) bool {
		return slices.ContainsFunc(shown.Identifier, func(s r4.Identifier) bool {
			a, b := coded(i.Type, identifierTypes), coded(s.Type, identifierTypes)
			return i.Value == s.Value && (i.System == "" || i.System == s.System) && a != nil && b != nil && a.Code == b.Code
		}) || i.Value == shown.Id // what stands for the referrer's number as long as none is known
	})
	raw, err := json.Marshal(sent)
	if err != nil {
		return nil, nil, fmt.Errorf("encode Task: %w", err)
	}
	if trimmed, err = r4.Parse(raw, "Task"); err != nil {
		return nil, nil, err
	}
	paths := doc.Paths // where things stood as they were sent, and what the types here do not have
	for path := range paths {
		for _, gone := range []string{"Task.output", "Task.extension", "Task.identifier"} {
			if _, still := trimmed.Paths[path]; !still && (path == gone || strings.HasPrefix(path, gone+".")) {
				delete(paths, path)
			}
		}
	}
	return &r4.Document{Type: doc.Type, Raw: raw, Paths: paths}, stood, nil
}

// without leaves out those items that are gone, and returns the others with the indexes that they had.
func without[T any](items []T, gone func(T) bool) (left []T, stood []int) {
	for i, item := range items {
		if !gone(item) {
			left, stood = append(left, item), append(stood, i)
		}
	}
	return left, stood
}

// alone refuses what a Task tells of a step, where it asks for something else.
func (r *reader) alone(step *taskStep, code, words string) {
	for _, e := range []struct {
		at   string
		told bool
	}{
		{"Task.output", len(step.body.Output) > 0}, {"Task.note", len(step.body.Note) > 0}, {"Task.statusReason", step.body.StatusReason != nil},
		{step.fields["filler_number"], step.request.GetFillerNumber() != ""},
	} {
		if e.told {
			r.refuse(code, e.at, "%s", words)
		}
	}
}

// unchanged refuses changes of what the owner or the referrer cannot change in a Task. What is left out stays as it is.
func (r *reader) unchanged(c *call, b, shown *r4.Task) {
	for _, ref := range []struct {
		element    string
		sent, have *r4.Reference
		hint       string
	}{
		{"focus", b.Focus, shown.Focus, "a Task keeps its ServiceRequest"},
		{"for", b.For, shown.For, "a referral stays that person's"},
		{"requester", b.Requester, shown.Requester, "a referral stays that organization's"},
		{"owner", b.Owner, shown.Owner, "who refers asks somebody else, while nobody has answered, by a PUT that changes owner alone"},
	} {
		if ref.sent == nil || ref.sent.Reference == "" {
			continue
		}
		if ref.have == nil || strings.TrimPrefix(ref.sent.Reference, c.base()+"/") != ref.have.Reference {
			r.refuse("business-rule", "Task."+ref.element, "does not change: %s", ref.hint)
		}
	}
	if b.Priority != "" && b.Priority != shown.Priority {
		r.refuse("business-rule", "Task.priority", "does not change once a referral is sent")
	}
	if b.Restriction != nil && b.Restriction.Period != nil {
		sent := r.instantAt("Task.restriction.period.end", cmp.Or(b.Restriction.Period.End, "1900"), true)
		if shown.Restriction == nil || !sent.Equal(r.instantAt("Task.restriction.period.end", shown.Restriction.Period.End, true)) {
			r.refuse("business-rule", "Task.restriction", "does not change once a referral is sent")
		}
	}
	for i, id := range b.Identifier {
		if k := coded(id.Type, identifierTypes); k == nil || k.Code != "FILL" {
			r.refuse("business-rule", r.item("Task.identifier", i), "of the numbers of a Task, its owner sets FILL; the others do not change")
		}
	}
}
