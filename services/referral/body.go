package referral

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/type/latlng"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/crypt"
)

// The fields that ciphertexts are sealed for.
const (
	subjectField     = "subject"
	stateReasonField = "state_reason"
	outcomeNoteField = "outcome.note"
	placeNoteField   = "placement.note"
)

func eventNoteField(number int64) string { return fmt.Sprintf("events/%d.note", number) }

// body is what a referrer writes, as messages. They are shared: who changes one changes a copy.
type body struct {
	subject *referralv1.Referral_Subject
	codes   []*typev1.Code
	needs   *referralv1.Needs
	consent *referralv1.Referral_Consent
}

// fill takes what a referrer writes into a row: everything but who, where and when.
func (s *server) fill(r *row, m *referralv1.Referral) error {
	var err error
	r.body = body{subject: m.GetSubject(), codes: m.GetReasonCodes(), needs: rounded(m.GetNeeds(), 2), consent: m.GetConsent()}
	if r.body.subject == nil {
		r.body.subject = &referralv1.Referral_Subject{}
	}
	if r.body.needs == nil {
		r.body.needs = &referralv1.Needs{}
	}
	if r.body.consent == nil {
		r.body.consent = &referralv1.Referral_Consent{}
	}
	if r.body.consent.GetWithdrawTime() != nil { // only WithdrawReferralConsent says so
		r.body.consent = proto.CloneOf(r.body.consent)
		r.body.consent.WithdrawTime = nil
	}
	r.ConsentVersion = max(r.ConsentVersion, 1)
	if err := s.setSubject(r, r.body.subject); err != nil {
		return err
	}
	if r.ReasonCodes, err = marshalCodes(r.body.codes); err != nil {
		return err
	}
	if r.Needs, err = protojson.Marshal(r.body.needs); err != nil {
		return fmt.Errorf("encode needs: %w", err)
	}
	if r.Consent, err = protojson.Marshal(r.body.consent); err != nil {
		return fmt.Errorf("encode consent: %w", err)
	}
	r.Author, r.PlacerNumber, r.PlacerSystem = m.GetAuthor(), m.GetPlacerNumber(), m.GetPlacerSystem()
	r.Distress, r.SelfHarmRisk, r.Urgency = m.Distress, m.GetSelfHarmRisk(), int32(m.GetUrgency())
	r.Deadline, r.AuthorTime = instant(m.GetDeadline()), instant(m.GetAuthorTime())
	r.RequestedGroupID, err = optionalID("referral.requested_group", "groups", m.GetRequestedGroup())
	if err != nil {
		return err
	}
	r.OwnerOrgID, err = optionalID("referral.owner_organization", "organizations", m.GetOwnerOrganization())
	return err
}

// setSubject writes the person into a row.
func (s *server) setSubject(r *row, subject *referralv1.Referral_Subject) error {
	key, err := s.keys.OpenDataKey(r.DataKey)
	if err != nil {
		return fmt.Errorf("%s: %w", r.name(), err)
	}
	r.body.subject, r.SubjectKeys = subject, s.subjectKeys(r.OrgID, subject)
	r.Subject, err = crypt.SealProto(key, r.name(), subjectField, subject)
	return err
}

// rounded returns needs with the place cut to so many decimals.
func rounded(n *referralv1.Needs, decimals int) *referralv1.Needs {
	if n.GetLocation() == nil {
		return n
	}
	scale := math.Pow10(decimals)
	n = proto.CloneOf(n)
	n.Location = &latlng.LatLng{
		Latitude:  math.Round(n.GetLocation().GetLatitude()*scale) / scale,
		Longitude: math.Round(n.GetLocation().GetLongitude()*scale) / scale,
	}
	return n
}

func marshalCodes(codes []*typev1.Code) ([]byte, error) {
	list := make([]json.RawMessage, len(codes))
	for i, c := range codes {
		raw, err := protojson.Marshal(c)
		if err != nil {
			return nil, fmt.Errorf("encode reason code: %w", err)
		}
		list[i] = raw
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return nil, fmt.Errorf("encode reason codes: %w", err)
	}
	return raw, nil
}

func (r *row) reasonCodes() ([]*typev1.Code, error) {
	if r.body.codes != nil {
		return r.body.codes, nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(r.ReasonCodes, &list); err != nil {
		return nil, fmt.Errorf("%s: reason codes: %w", r.name(), err)
	}
	codes := make([]*typev1.Code, len(list))
	for i, raw := range list {
		codes[i] = new(typev1.Code)
		if err := protojson.Unmarshal(raw, codes[i]); err != nil {
			return nil, fmt.Errorf("%s: reason codes: %w", r.name(), err)
		}
	}
	r.body.codes = codes
	return codes, nil
}

func (r *row) needs() (*referralv1.Needs, error) {
	if r.body.needs == nil {
		n := new(referralv1.Needs)
		if err := protojson.Unmarshal(r.Needs, n); err != nil {
			return nil, fmt.Errorf("%s: needs: %w", r.name(), err)
		}
		r.body.needs = n
	}
	return r.body.needs, nil
}

func (r *row) consent() (*referralv1.Referral_Consent, error) {
	if r.body.consent == nil {
		c := new(referralv1.Referral_Consent)
		if err := protojson.Unmarshal(r.Consent, c); err != nil {
			return nil, fmt.Errorf("%s: consent: %w", r.name(), err)
		}
		r.body.consent = c
	}
	return r.body.consent, nil
}

func (s *server) subject(r *row) (*referralv1.Referral_Subject, error) {
	if r.body.subject == nil {
		key, err := s.keys.OpenDataKey(r.DataKey)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name(), err)
		}
		m := new(referralv1.Referral_Subject)
		if err := crypt.OpenProto(key, r.name(), subjectField, r.Subject, m); err != nil {
			return nil, err
		}
		r.body.subject = m
	}
	return r.body.subject, nil
}

// seal encrypts a text of the referral's; the empty text is nil.
func (s *server) seal(r *row, field, text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	key, err := s.keys.OpenDataKey(r.DataKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name(), err)
	}
	return crypt.SealString(key, r.name(), field, text)
}

// open decrypts what seal made.
func (s *server) open(r *row, field string, sealed []byte) (string, error) {
	if len(sealed) == 0 {
		return "", nil
	}
	key, err := s.keys.OpenDataKey(r.DataKey)
	if err != nil {
		return "", fmt.Errorf("%s: %w", r.name(), err)
	}
	return crypt.OpenString(key, r.name(), field, sealed)
}

func optionalID(field, collection, name string) (*uuid.UUID, error) {
	if name == "" {
		return nil, nil
	}
	id, err := aip.ParseName(field, collection, name)
	if err != nil {
		return nil, err
	}
	return &id, nil
}

func optionalName(collection string, id *uuid.UUID) string {
	if id == nil {
		return ""
	}
	return aip.Name(collection, *id)
}

// instant returns a timestamp as PostgreSQL keeps it.
func instant(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	at := t.AsTime().Truncate(time.Microsecond)
	return &at
}

func timestamp(t *time.Time) *timestamppb.Timestamp {
	if t == nil {
		return nil
	}
	return timestamppb.New(*t)
}
