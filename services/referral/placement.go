package referral

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	membershipv1 "cairn.care/gen/cairn/membership/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/cancertype"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
)

// The two things that can be under way with membership.
const (
	place   = "PLACE"
	release = "RELEASE"
)

const (
	retryFirst = 10 * time.Second // for the caller that began it to end it itself
	retryMost  = 5 * time.Minute
	stuckAfter = 10 * time.Minute // whoever waits for what is under way longer than this is told
)

// placementRow is a row of placements: what is under way with membership for one referral.
type placementRow struct {
	ReferralID   uuid.UUID
	Kind         string
	RequestID    uuid.UUID
	GroupID      *uuid.UUID
	FillerNumber string
	FillerSystem string
	Actor        string
	ActorOrgID   *uuid.UUID
	Note         []byte
	CreateTime   time.Time
	RetryTime    time.Time
	Attempts     int32
}

// stuck tells whether what is under way does not come to an end.
func (p *placementRow) stuck(now time.Time) bool { return !p.CreateTime.After(now.Add(-stuckAfter)) }

const placementColumns = `referral_id, kind, request_id, group_id, filler_number, filler_system, actor, actor_org_id, note, create_time, retry_time, attempts`

// insertPlacement queues what is to be done with membership; a release replaces a placing that has not ended.
func insertPlacement(b *pgx.Batch, p *placementRow) {
	b.Queue(`INSERT INTO placements (`+placementColumns+`)
		VALUES (@referral, @kind, @request, @group, @filler, @filler_system, @actor, @actor_org, @note, @create, @retry, 0)
		ON CONFLICT (referral_id) DO UPDATE SET kind = EXCLUDED.kind, request_id = EXCLUDED.request_id, group_id = NULL,
			note = NULL, create_time = EXCLUDED.create_time, retry_time = EXCLUDED.retry_time, attempts = 0`, pgx.NamedArgs{
		"referral": p.ReferralID, "kind": p.Kind, "request": p.RequestID, "group": p.GroupID, "filler": p.FillerNumber, "filler_system": p.FillerSystem,
		"actor": p.Actor, "actor_org": p.ActorOrgID, "note": p.Note, "create": p.CreateTime, "retry": p.RetryTime,
	})
}

func deletePlacement(b *pgx.Batch, p *placementRow) {
	b.Queue(`DELETE FROM placements WHERE referral_id = $1 AND request_id = $2`, p.ReferralID, p.RequestID)
}

// findPlacement returns what is under way for a referral, nil if nothing is. The referral's row guards it.
func findPlacement(ctx context.Context, q pg.Querier, referral uuid.UUID) (*placementRow, error) {
	rows, err := q.Query(ctx, `SELECT `+placementColumns+` FROM placements WHERE referral_id = $1`, referral)
	if err != nil {
		return nil, fmt.Errorf("find placement: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToAddrOfStructByName[placementRow])
	if err != nil {
		return nil, fmt.Errorf("find placement: %w", err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all[0], nil
}

// giveBack queues, in the transaction that ends a referral, that membership is told to give the seat back, if one was
// taken or is being taken.
func giveBack(ctx context.Context, tx pgx.Tx, c *change) error {
	under, err := findPlacement(ctx, tx, c.row.ID)
	if err != nil {
		return err
	}
	if under == nil && c.row.MembershipID == nil {
		return nil
	}
	insertPlacement(c.batch, &placementRow{
		ReferralID: c.row.ID, Kind: release, RequestID: aip.NewID(), Actor: c.actor.name, ActorOrgID: c.actor.org,
		CreateTime: c.now, RetryTime: c.now.Add(retryFirst),
	})
	return nil
}

// finish does what is under way for a referral, whoever began it: calls membership and writes down what came of it. The
// error is that of a placing which was refused, or of a peer that could not be reached; then it stays under way.
func (s *server) finish(ctx context.Context, referral uuid.UUID) error {
	ctx = auth.WithTenant(ctx, auth.Tenant{All: true})
	var p *placementRow
	var r *row
	if err := s.db.Tx(ctx, func(tx pgx.Tx) (err error) {
		if p, err = findPlacement(ctx, tx, referral); err != nil || p == nil {
			return err
		}
		r, err = find(ctx, tx, auth.TenantFrom(ctx), referral)
		return err
	}); err != nil || p == nil || r == nil {
		return err
	}
	if p.Kind == release {
		return s.release(ctx, r, p)
	}
	if err := s.mayAccept(r); err != nil {
		return errors.Join(err, s.unplace(ctx, referral))
	}
	_, err := s.place(ctx, r, p, nil)
	return err
}

// unplace ends a placing that was begun before the person's consent ended.
func (s *server) unplace(ctx context.Context, referral uuid.UUID) error {
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := lock(ctx, tx, auth.TenantFrom(ctx), referral)
		if err != nil || r == nil || r.State != sent {
			return err
		}
		under, err := findPlacement(ctx, tx, referral)
		if err != nil || under == nil || under.Kind != place {
			return err
		}
		consent, err := r.consent()
		if err != nil || !consentEnded(consent, s.clock.Now()) {
			return err // there is a new one
		}
		c := s.newChange(r, told(service))
		if err := s.consentOvertook(ctx, tx, c, under); err != nil {
			return err
		}
		return c.save(ctx, tx)
	})
}

// consentOvertook does what follows when the consent of a SENT referral has ended while its person was being placed: membership gives back
// the seat that it may have given, and takes out of her record what she allows no more; the referrer has to say what becomes of it.
func (s *server) consentOvertook(ctx context.Context, tx pgx.Tx, c *change, p *placementRow) error {
	r := c.row
	insertPlacement(c.batch, &placementRow{
		ReferralID: r.ID, Kind: release, RequestID: aip.NewID(), Actor: c.actor.name, ActorOrgID: c.actor.org,
		CreateTime: c.now, RetryTime: c.now.Add(retryFirst),
	})
	if err := c.note(notePlaceRefused, entry{by: system, note: optionalName("groups", p.GroupID) + ": the person's consent has ended"}); err != nil {
		return err
	}
	if r.Awaiting == receiver {
		return s.consentExpired(ctx, tx, c)
	}
	back, err := c.takenBack(ctx, tx, nil)
	if err != nil {
		return err
	}
	return c.tell(transition{from: sent, action: noteConsentWithdrawn, to: sent}, back)
}

// release has membership give the seat back. A referral that was cancelled before anybody accepted it is then cancelled
// for good; one that is still SENT may be placed again.
func (s *server) release(ctx context.Context, r *row, p *placementRow) error {
	if _, err := s.membership.ReleaseReferral(auth.System(ctx, service), &membershipv1.ReleaseReferralRequest{
		Referral: r.name(), RequestId: p.RequestID.String(), PlaceableAgain: r.State == sent,
	}); err != nil {
		return fmt.Errorf("release %s: %w", r.name(), err)
	}
	ctx = auth.WithTenant(ctx, auth.Tenant{All: true})
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := lock(ctx, tx, auth.TenantFrom(ctx), p.ReferralID)
		if err != nil || r == nil {
			return err
		}
		c := s.newChange(r, told(service))
		if r.State == cancelRequested && r.AcceptTime == nil {
			if err := c.take(transition{from: cancelRequested, action: confirmCancel, to: cancelled}, entry{by: system}); err != nil {
				return err
			}
		}
		deletePlacement(c.batch, p)
		return c.save(ctx, tx)
	})
}

// place has membership seat the person, and accepts the referral with what it answers. done, if set, ends the
// transaction that does so with the caller's answer.
func (s *server) place(ctx context.Context, r *row, p *placementRow, done func(context.Context, pgx.Tx, *change) error) (*row, error) {
	req, err := s.placeRequest(ctx, r, p)
	if err != nil {
		return nil, err
	}
	m, err := s.membership.PlaceReferral(auth.System(ctx, service), req)
	if err != nil {
		if !refused(err) {
			return nil, fault.Unavailable(2*time.Second, fmt.Errorf("place %s: %w", r.name(), err))
		}
		return nil, s.placeRefused(ctx, p, err)
	}
	membership, err := aip.ParseName("membership", "memberships", m.GetName())
	if err != nil {
		return nil, err
	}
	revision, err := aip.Revision(m.GetEtag())
	if err != nil {
		return nil, err
	}
	ctx = auth.WithTenant(ctx, auth.Tenant{All: true})
	var late error
	err = s.db.Tx(ctx, func(tx pgx.Tx) error {
		if err := lockKey(ctx, tx, "memberships", membership); err != nil {
			return err
		}
		if r, err = lock(ctx, tx, auth.TenantFrom(ctx), p.ReferralID); err != nil {
			return err
		}
		if r == nil {
			return fault.NotFound(aip.Name("referrals", p.ReferralID))
		}
		under, err := findPlacement(ctx, tx, p.ReferralID)
		if err != nil {
			return err
		}
		c := s.newChange(r, actor{name: p.Actor, org: p.ActorOrgID})
		lapsed := s.mayAccept(r)
		switch {
		case r.State == sent && (under == nil || under.Kind == place) && lapsed != nil:
			late, c.actor = lapsed, told(service)
			if err := s.consentOvertook(ctx, tx, c, p); err != nil {
				return err
			}
			return c.save(ctx, tx)
		case r.State == sent && (under == nil || under.Kind == place):
			// Also where another copy was refused before this one got the seat: membership holds it for her, and would
			// place her nowhere else.
			if under != nil {
				deletePlacement(c.batch, under)
			}
			if err := s.accepted(ctx, tx, c, p, membership, m.GetState(), revision); err != nil {
				return err
			}
		case r.AcceptTime != nil && r.MembershipID != nil && *r.MembershipID == membership && !ended(r.State):
			// The job, or the other copy of this call, was faster.
		case r.AcceptTime == nil && (under == nil || r.State == sent):
			// It, or her consent, has ended between what another copy was told and this one's seat, when there was none to give back.
			late = overtaken(r)
			r.learn(membership, m.GetState(), revision)
			if err := giveBack(ctx, tx, c); err != nil {
				return err
			}
			return c.save(ctx, tx)
		default:
			return overtaken(r)
		}
		if done != nil {
			return done(ctx, tx, c)
		}
		return c.save(ctx, tx)
	})
	if err == nil && late != nil {
		s.finishSoon(ctx, r.name())
		err = late
	}
	return r, err
}

func overtaken(r *row) error {
	return fault.Precondition("ILLEGAL_TRANSITION", r.name(), "accept came to nothing: the referral is %s meanwhile", r.State)
}

// accepted takes the step for which a placing was begun.
func (s *server) accepted(ctx context.Context, tx pgx.Tx, c *change, p *placementRow, membership uuid.UUID, state membershipv1.Membership_State, revision int64) error {
	r := c.row
	note, err := s.open(r, placeNoteField, p.Note)
	if err != nil {
		return err
	}
	subject, err := s.subject(r)
	if err != nil {
		return err
	}
	r.GroupID, r.FillerNumber, r.FillerSystem = p.GroupID, p.FillerNumber, p.FillerSystem
	r.learn(membership, state, revision)
	// Whether she must not be contacted, and what may be shown of her, may have been changed since membership was asked.
	back, err := c.takenBack(ctx, tx, nil)
	if err != nil {
		return err
	}
	says := func(m *referralv1.ReferralChanged) {
		m.DoNotContact = subject.GetDoNotContact()
		back(m)
	}
	if err := c.take(transition{from: sent, action: accept, to: accepted}, entry{by: receiver, note: note, tells: says}); err != nil {
		return err
	}
	c.actor = told("membership")
	return s.follow(ctx, tx, c)
}

// tellStuck tells both sides, once, that a placing does not come to an end.
func (s *server) tellStuck(ctx context.Context, referral uuid.UUID) error {
	return s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := lock(ctx, tx, auth.TenantFrom(ctx), referral)
		if err != nil || r == nil || r.State != sent {
			return err
		}
		c := s.newChange(r, told(service))
		p, err := findPlacement(ctx, tx, referral)
		if err != nil || p == nil || p.Kind != place || !p.stuck(c.now) {
			return err
		}
		var known bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM referral_events WHERE referral_id = $1 AND action = $2 AND create_time > $3)`,
			referral, int32(noteUnanswered), p.CreateTime).Scan(&known); err != nil {
			return fmt.Errorf("find what was told: %w", err)
		}
		if known {
			return nil
		}
		note := optionalName("groups", p.GroupID) + ": the referral is being accepted, which has not come to an end for ten minutes; it is tried again by itself"
		if err := c.announce(noteUnanswered, entry{by: system, note: note}); err != nil {
			return err
		}
		return c.save(ctx, tx)
	})
}

// refused tells whether membership said no, for good, rather than nothing.
func refused(err error) bool {
	switch status.Code(err) {
	case codes.FailedPrecondition, codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.OutOfRange:
		return true
	}
	return false
}

// placeRefused writes down that the group does not take the person, and returns what the receiver is told.
func (s *server) placeRefused(ctx context.Context, p *placementRow, cause error) error {
	st := status.Convert(cause)
	reason := "PLACE_REFUSED"
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && st.Code() == codes.FailedPrecondition {
			reason = cmp.Or(info.GetReason(), reason)
		}
	}
	ctx = auth.WithTenant(ctx, auth.Tenant{All: true})
	err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		r, err := lock(ctx, tx, auth.TenantFrom(ctx), p.ReferralID)
		if err != nil || r == nil {
			return err
		}
		under, err := findPlacement(ctx, tx, p.ReferralID)
		if err != nil || under == nil || under.RequestID != p.RequestID {
			return err // another copy has written it down, or a release has taken its place
		}
		c := s.newChange(r, told("membership"))
		deletePlacement(c.batch, p)
		if r.State == sent && r.OverdueTime != nil {
			r.planAgain(c.now) // the clock may have waited for what comes of it
		}
		if err := c.note(notePlaceRefused, entry{by: system, note: fmt.Sprintf("%s: %s", optionalName("groups", p.GroupID), st.Message())}); err != nil {
			return err
		}
		return c.save(ctx, tx)
	})
	if err != nil {
		return err
	}
	return fault.Precondition(reason, optionalName("groups", p.GroupID), "%s; the referral stays SENT: accept it for another group, or reject it", st.Message())
}

// placeRequest is what membership is told of the person: what the consent covered when the receiver accepted. It is the
// same each time that it is made for a placement.
func (s *server) placeRequest(ctx context.Context, r *row, p *placementRow) (*membershipv1.PlaceReferralRequest, error) {
	consent, err := r.consent()
	if err != nil {
		return nil, err
	}
	subject, err := s.subject(r)
	if err != nil {
		return nil, err
	}
	then := *r
	then.State = sent
	may := covers(&then, consent, p.CreateTime)
	seen := disclosed(subject, may)
	needs, err := r.wholeNeeds(may(referralv1.Referral_Consent_CLINICAL))
	if err != nil {
		return nil, err
	}
	m := &membershipv1.Member{
		Alias: "New member", Role: memberRole(needs), Languages: needs.GetLanguages(), CancerTypes: needs.GetCancerTypes(),
		SuitableTimes: needs.GetTimes(), DoNotContact: seen.GetDoNotContact(),
		LegalName: fitting(seen.GetGivenName()+" "+seen.GetFamilyName(), 200),
		Email:     seen.GetEmail(), BirthYear: seen.GetBirthDate().GetYear(),
	}
	if m.GetBirthYear() == 0 && needs.AgeYears != nil {
		m.BirthYear = int32(p.CreateTime.Year()) - needs.GetAgeYears()
	}
	if phone := e164(seen.GetPhone()); phone != "" || seen.GetPhone() == "" {
		m.Phone = phone
	} else {
		m.ContactNote = "Telephone " + seen.GetPhone()
	}
	switch seen.GetContactPreference() {
	case referralv1.Referral_Subject_CALL:
		m.PreferredChannel = membershipv1.Member_PHONE_CALL
	case referralv1.Referral_Subject_TEXT_MESSAGE:
		m.PreferredChannel = membershipv1.Member_TEXT_MESSAGE
	case referralv1.Referral_Subject_EMAIL:
		m.PreferredChannel = membershipv1.Member_EMAIL
	}
	if a := seen.GetAddress(); a.GetLocality() != "" || a.GetAdministrativeArea() != "" || a.GetCountry() != "" {
		m.Area = &membershipv1.Member_Area{
			Locality: fitting(a.GetLocality(), 120), AdministrativeArea: fitting(a.GetAdministrativeArea(), 120), Country: a.GetCountry(),
		}
	}
	req := &membershipv1.PlaceReferralRequest{
		Referral: r.name(), Group: optionalName("groups", p.GroupID), RequestId: p.RequestID.String(),
		Subject: &membershipv1.ReferralSubject{Member: m},
	}
	for _, id := range seen.GetIdentifiers() {
		req.Subject.Identifiers = append(req.Subject.Identifiers, &membershipv1.ReferralSubject_Identifier{
			System: id.GetSystem(), Value: id.GetValue(), Organization: aip.Name("organizations", r.OrgID),
		})
	}
	if may(referralv1.Referral_Consent_CLINICAL) {
		req.OpenConcern, err = s.concernThen(ctx, p)
	}
	return req, err
}

// fitting returns a text as membership takes it: on one line, and cut to its limit. What a referral may say of a person must
// never be why nobody can take her.
func fitting(text string, runes int) string {
	r := []rune(strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return ' '
		}
		return c
	}, text)))
	return strings.TrimSpace(string(r[:min(len(r), runes)]))
}

func memberRole(n *referralv1.Needs) membershipv1.Member_Role {
	switch n.GetRole() {
	case referralv1.Needs_PATIENT:
		return membershipv1.Member_PATIENT
	case referralv1.Needs_SURVIVOR:
		return membershipv1.Member_SURVIVOR
	case referralv1.Needs_CAREGIVER:
		return membershipv1.Member_CAREGIVER
	case referralv1.Needs_FAMILY, referralv1.Needs_CHILD_OF_PATIENT:
		return membershipv1.Member_FAMILY
	case referralv1.Needs_BEREAVED:
		return membershipv1.Member_BEREAVED
	}
	return membershipv1.Member_PATIENT
}

// e164 returns a telephone number as E.164 writes it, "" if it does not say its country or is none.
func e164(phone string) string {
	digits := strings.NewReplacer(" ", "", "-", "", "(", "", ")", "", ".", "", "/", "").Replace(phone)
	if ok, err := regexp.MatchString(`^\+[1-9][0-9]{5,14}$`, digits); err != nil || !ok {
		return ""
	}
	return digits
}

// wholeNeeds returns what the person needs, and if clinical data may count, with what the reason codes say where the
// needs do not.
func (r *row) wholeNeeds(clinical bool) (*referralv1.Needs, error) {
	n, err := r.needs()
	if err != nil || !clinical {
		return n, err
	}
	codes, err := r.reasonCodes()
	if err != nil {
		return nil, err
	}
	n = proto.CloneOf(n)
	stated, past := len(n.GetCancerTypes()) > 0, false
	for _, c := range codes {
		t, ok := cancertype.FromCode(c.GetSystem(), c.GetCode())
		if ok && !stated && len(n.GetCancerTypes()) < 10 && !slices.Contains(n.GetCancerTypes(), t) {
			n.CancerTypes = append(n.CancerTypes, t)
		}
		past = past || c.GetSystem() == cancertype.SystemICD10CM && cancertype.IsHistory(c.GetCode())
	}
	if n.GetRole() == referralv1.Needs_ROLE_UNSPECIFIED && (past || n.GetPhase() == groupsv1.Group_AFTER_TREATMENT) {
		n.Role = referralv1.Needs_SURVIVOR
	}
	return n, nil
}
