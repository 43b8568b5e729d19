package referral

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/crypt"
)

// versionRow is a row of referral_versions.
type versionRow struct {
	ReferralID uuid.UUID
	Revision   int64
	CreateTime time.Time
	Body       []byte
}

func versionField(revision int64) string { return fmt.Sprintf("versions/%d", revision) }

// insertVersion queues the row as it is now as one of the referral's versions, sealed with the referral's key: what erases that
// erases them.
func (s *server) insertVersion(b *pgx.Batch, r *row) error {
	then := *r
	then.DataKey, then.SubjectKeys, then.DuplicateIDs, then.ChangeTime = nil, nil, nil, nil
	plain, err := json.Marshal(&then)
	if err != nil {
		return fmt.Errorf("encode %s: %w", r.name(), err)
	}
	key, err := s.keys.OpenDataKey(r.DataKey)
	if err != nil {
		return fmt.Errorf("%s: %w", r.name(), err)
	}
	body, err := crypt.SealString(key, r.name(), versionField(r.Revision), string(plain))
	if err != nil {
		return err
	}
	var owner *uuid.UUID
	if r.SendTime != nil {
		owner = r.OwnerOrgID
	}
	b.Queue(`INSERT INTO referral_versions (referral_id, revision, org_id, owner_org_id, create_time, body)
		VALUES ($1, $2, $3, $4, coalesce((SELECT change_time FROM referrals WHERE id = $1), clock_timestamp()), $5)`,
		r.ID, r.Revision, r.OrgID, owner, body)
	return nil
}

// openVersion returns the row as it was, to be shown as a view of the referral as it is now.
func openVersion(key tink.AEAD, now *row, v *versionRow) (*row, error) {
	plain, err := crypt.OpenString(key, now.name(), versionField(v.Revision), v.Body)
	if err != nil {
		return nil, err
	}
	then := new(row)
	if err := json.Unmarshal([]byte(plain), then); err != nil {
		return nil, fmt.Errorf("%s, version %d: %w", now.name(), v.Revision, err)
	}
	then.DataKey, then.ChangeTime = now.DataKey, &v.CreateTime
	if then.PatientID == nil {
		then.PatientID = now.PatientID
	}
	return then, nil
}

// versionToProto returns a version as the view shows it now.
func (s *server) versionToProto(now *row, v *versionRow, as view) (*referralv1.ReferralVersion, error) {
	key, err := s.keys.OpenDataKey(now.DataKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", now.name(), err)
	}
	then, err := openVersion(key, now, v)
	if err != nil {
		return nil, err
	}
	if as != whole {
		if then.body.consent, err = s.consentNow(now); err != nil {
			return nil, err
		}
		if then.body.subject, err = s.subjectNow(now, then); err != nil {
			return nil, err
		}
	}
	m, err := s.toProto(then, as)
	if err != nil {
		return nil, err
	}
	return &referralv1.ReferralVersion{
		Name: fmt.Sprintf("%s/versions/%d", now.name(), v.Revision), Referral: m, CreateTime: timestamppb.New(v.CreateTime),
	}, nil
}

// consentNow returns the consent that decides what is shown of a referral, also of how it was before it ended.
func (s *server) consentNow(r *row) (*referralv1.Referral_Consent, error) {
	consent, err := r.consent()
	if err != nil {
		return nil, err
	}
	may := covers(r, consent, s.clock.Now())
	consent = proto.CloneOf(consent)
	var share []referralv1.Referral_Consent_Item
	for _, item := range consent.GetShare() {
		if may(item) {
			share = append(share, item)
		}
	}
	consent.Share = share
	return consent, nil
}

// subjectNow returns what a referral said of its person; that she must not be contacted, also if it says so only now.
func (s *server) subjectNow(now, then *row) (*referralv1.Referral_Subject, error) {
	says, err := s.subject(now)
	if err != nil {
		return nil, err
	}
	said, err := s.subject(then)
	if err != nil || !says.GetDoNotContact() {
		return said, err
	}
	said = proto.CloneOf(said)
	said.DoNotContact = true
	return said, nil
}

// present is the referral as it is, as its last version.
func (r *row) present() *versionRow {
	v := &versionRow{ReferralID: r.ID, Revision: r.Revision, CreateTime: r.UpdateTime}
	if r.ChangeTime != nil {
		v.CreateTime = *r.ChangeTime
	}
	return v
}

// version returns a stored version, or the referral as it is, which is not stored where an older release wrote it.
func (s *server) version(now *row, v *versionRow, as view) (*referralv1.ReferralVersion, error) {
	if len(v.Body) > 0 {
		return s.versionToProto(now, v, as)
	}
	m, err := s.toProto(now, as)
	if err != nil {
		return nil, err
	}
	return &referralv1.ReferralVersion{
		Name: fmt.Sprintf("%s/versions/%d", now.name(), v.Revision), Referral: m, CreateTime: timestamppb.New(v.CreateTime),
	}, nil
}

// shownVersions is which versions the tenant may see of a referral that it sees: an owner those since it has been that.
const shownVersions = `v.referral_id = @id AND (@all OR v.org_id = @org OR v.owner_org_id = @org)`

// forgetVersions deletes the versions of an erased referral; their key is gone in any case.
func forgetVersions(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	if _, err := tx.Exec(ctx, `DELETE FROM referral_versions WHERE referral_id = $1`, id); err != nil {
		return fmt.Errorf("delete versions: %w", err)
	}
	return nil
}
