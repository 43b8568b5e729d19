package fhir

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/formats/fhir/r4"
)

// What nobody owns yet, as those see it who may take it on.

// unclaimed tells whether a referral is shown as everybody sees it who may claim it: neither the person nor who refers is said.
func unclaimed(r *referralv1.Referral) bool { return r.GetOrganization() == "" }

// requested is the Task.status, by a guide, of a referral that waits for an answer.
func requested(guide string) string {
	if guide == profileBSER {
		return "received"
	}
	return "requested"
}

// claimablePage begins the cursors of searchClaimable.
const claimablePage = "claimable/"

// searchClaimable finds what the caller's organization may claim; nil if it is one that does not help.
func (c *call) searchClaimable(ctx context.Context, s *search, req *referralv1.SearchReferralsRequest) (*page, error) {
	token, begun := strings.CutPrefix(s.cursor, claimablePage)
	if s.cursor != "" && !begun {
		return nil, nil //nolint:nilnil // see above
	}
	// The service asks for the scope of those who claim, also where they only look.
	resp, err := c.referrals.ListClaimableReferrals(c.writing(ctx, c.resource), &referralv1.ListClaimableReferralsRequest{PageSize: int32(s.count), PageToken: token})
	if status.Code(err) == codes.PermissionDenied {
		return nil, nil //nolint:nilnil // see above
	}
	if err != nil {
		return nil, err
	}
	more := slices.ContainsFunc(s.clauses, func(cl clause) bool { return !slices.Contains([]string{"owner", "status", "code"}, cl.param.name) })
	if more || len(s.sort) > 0 || !slices.Contains(req.GetTaskStatuses(), requested(c.profile)) {
		return nil, malformed("not-supported", httpParameter+"owner", "owner:missing=true finds what you may claim with status=%s, and with nothing else but code, longest waiting first; "+
			"your own referrals that nobody owns with requester=Organization/{yours} beside it", requested(c.profile))
	}
	p := &page{}
	if resp.GetNextPageToken() != "" {
		p.next = claimablePage + resp.GetNextPageToken()
	}
	for _, r := range resp.GetReferrals() {
		c.remember(claimablePage+idIn(r.GetName()), r)
		p.items = append(p.items, taskItem(c.profile, r))
	}
	return p, nil
}

// claim takes on a referral for the caller's organization, if a Task asks for that: nobody's, as searchClaimable shows it, with the
// caller as its owner. It returns nil where that is not what it asks for, or the caller owns it already.
func (c *call) claim(ctx context.Context, id string, doc *r4.Document, b *r4.Task) (*referralv1.Referral, error) {
	if b.Owner == nil || b.Requester != nil || b.For != nil || b.Status != requested(c.profile) && b.Status != "accepted" || !isUUID(id) {
		return nil, nil //nolint:nilnil // see above
	}
	if kind, owner := idOf(c.base(), b.Owner.Reference, "Organization"); kind == "" || "organizations/"+owner != c.principal.Organization {
		return nil, nil //nolint:nilnil // see above
	}
	waiting := &r4.Task{Status: requested(c.profile), BusinessStatus: ownCoding("referral-state", referralv1.Referral_SENT)}
	step, r, err := readTask(doc, waiting, nil, c.profile)
	if err != nil {
		return nil, err
	}
	if b.Status != "accepted" {
		r.alone(step, "business-rule", "does not go with a claim that leaves the status as it is: put it another time")
	}
	if b.Focus != nil && strings.TrimPrefix(b.Focus.Reference, c.base()+"/") != "ServiceRequest/"+id {
		r.refuse("business-rule", "Task.focus", "does not change: a Task keeps its ServiceRequest")
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	requestID := c.requestID
	if b.Status == "accepted" { // that step has the caller's
		requestID = uuid.NewSHA1(uuid.MustParse(requestID), []byte("claim")).String()
	}
	claimed, err := c.referrals.ClaimReferral(ctx, &referralv1.ClaimReferralRequest{Name: "referrals/" + id, Etag: c.etag(), RequestId: requestID})
	switch reason(err) {
	case "ALREADY_OWNED":
		return nil, nil //nolint:nilnil // see above
	case "NOT_FOUND":
		return nil, &refusal{http.StatusConflict, "NOT_CLAIMABLE", []r4.Issue{{Code: "conflict", Expression: "Task.owner",
			Diagnostics: "Task/" + id + " is not there to be claimed: somebody else has claimed it, or it was withdrawn; search again with owner:missing=true"}}}
	}
	return claimed, err
}

// unclaimedTask says how a Task is claimed that was put otherwise, if it waits for that; else it is not there.
func (c *call) unclaimedTask(ctx context.Context, id string, b *r4.Task) error {
	if !isUUID(id) {
		return missing("Task", id)
	}
	// A claim of a version that never is finds out whether there is something to be claimed, and claims nothing.
	_, err := c.referrals.ClaimReferral(ctx, &referralv1.ClaimReferralRequest{Name: "referrals/" + id, Etag: `"none"`})
	if reason(err) != "ETAG_MISMATCH" {
		return missing("Task", id)
	}
	at, ours := "Task.owner", "Organization/"+idIn(c.principal.Organization)
	if b.Owner != nil && strings.TrimPrefix(b.Owner.Reference, c.base()+"/") == ours {
		switch {
		case b.For != nil:
			at = "Task.for"
		case b.Requester != nil:
			at = "Task.requester"
		default:
			at = "Task.status"
		}
	}
	return unprocessable("business-rule", at, "nobody owns this Task: who claims it puts it as owner:missing=true shows it, without for and requester, "+
		"with status %s or accepted, and sets owner to itself, %s", requested(c.profile), ours)
}
