package membership

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/timestamppb"

	membershipv1 "cairn.care/gen/cairn/membership/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/pg"
)

// memberRow is a row of members.
type memberRow struct {
	ID               uuid.UUID
	OrgID            uuid.UUID
	Revision         int64
	Alias            string
	Role             int32
	BirthYear        int32
	Languages        []string
	AreaLocality     string
	AreaRegion       string
	AreaCountry      string
	CancerTypes      []string
	PreferredChannel int32
	DoNotContact     bool
	Details          string
	MailSettings     string
	SelfDeclared     []string // of role and birth_year, what she changed herself and nobody has confirmed since
	DataKey          []byte
	Personal         []byte
	CreateTime       time.Time
	UpdateTime       time.Time
}

const memberColumns = `id, org_id, revision, alias, role, birth_year, languages, area_locality, area_region, area_country,
	cancer_types, preferred_channel, do_not_contact, details::text AS details, mail_settings::text AS mail_settings, self_declared, data_key, personal, create_time, update_time`

// personalField is the field name that a member's personal fields are sealed for.
const personalField = "personal"

func (r *memberRow) name() string { return aip.Name("members", r.ID) }

// toProto returns the member without her personal fields.
func (r *memberRow) toProto() (*membershipv1.Member, error) {
	m := new(membershipv1.Member)
	if err := protojson.Unmarshal([]byte(r.Details), m); err != nil {
		return nil, fmt.Errorf("details of %s: %w", r.name(), err)
	}
	settings := new(membershipv1.Member)
	if err := protojson.Unmarshal([]byte(r.MailSettings), settings); err != nil {
		return nil, fmt.Errorf("mail settings of %s: %w", r.name(), err)
	}
	m.TimeZone, m.QuietHours, m.MutedMessages = settings.GetTimeZone(), settings.GetQuietHours(), settings.GetMutedMessages()
	m.Name = r.name()
	m.Organization = aip.Name("organizations", r.OrgID)
	m.Alias = r.Alias
	m.Role = membershipv1.Member_Role(r.Role)
	m.BirthYear = r.BirthYear
	m.Languages = r.Languages
	m.CancerTypes = r.CancerTypes
	m.PreferredChannel = membershipv1.Member_ContactChannel(r.PreferredChannel)
	m.DoNotContact = r.DoNotContact
	m.CreateTime = timestamppb.New(r.CreateTime)
	m.UpdateTime = timestamppb.New(r.UpdateTime)
	m.Etag = aip.ETag(r.Revision)
	if r.AreaLocality+r.AreaRegion+r.AreaCountry != "" {
		m.Area = &membershipv1.Member_Area{Locality: r.AreaLocality, AdministrativeArea: r.AreaRegion, Country: r.AreaCountry}
	}
	return m, nil
}

// toFullProto returns the member with her personal fields.
func (r *memberRow) toFullProto(ks *crypt.Keyset) (*membershipv1.Member, error) {
	m, err := r.toProto()
	if err != nil {
		return nil, err
	}
	key, err := ks.OpenDataKey(r.DataKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.name(), err)
	}
	var personal membershipv1.Member
	if err := crypt.OpenProto(key, r.name(), personalField, r.Personal, &personal); err != nil {
		return nil, err
	}
	m.LegalName, m.Email, m.Phone, m.ContactNote = personal.LegalName, personal.Email, personal.Phone, personal.ContactNote
	return m, nil
}

// set takes over what a member message says, all but her name and what the server sets.
func (r *memberRow) set(m *membershipv1.Member, key tink.AEAD) error {
	r.Alias = m.GetAlias()
	r.Role = int32(m.GetRole())
	r.BirthYear = m.GetBirthYear()
	r.Languages = append([]string{}, m.GetLanguages()...) // never nil: that would be NULL
	r.CancerTypes = append([]string{}, m.GetCancerTypes()...)
	r.AreaLocality, r.AreaRegion, r.AreaCountry = m.GetArea().GetLocality(), m.GetArea().GetAdministrativeArea(), m.GetArea().GetCountry()
	r.PreferredChannel = int32(m.GetPreferredChannel())
	r.DoNotContact = m.GetDoNotContact()
	details, err := protojson.Marshal(&membershipv1.Member{SuitableTimes: m.GetSuitableTimes(), Consents: m.GetConsents(), Treatments: m.GetTreatments(), Phase: m.GetPhase(), Interests: m.GetInterests()})
	if err != nil {
		return fmt.Errorf("details of %s: %w", r.name(), err)
	}
	r.Details = string(details)
	settings, err := protojson.Marshal(&membershipv1.Member{TimeZone: m.GetTimeZone(), QuietHours: m.GetQuietHours(), MutedMessages: m.GetMutedMessages()})
	if err != nil {
		return fmt.Errorf("mail settings of %s: %w", r.name(), err)
	}
	r.MailSettings = string(settings)
	r.Personal, err = crypt.SealProto(key, r.name(), personalField, &membershipv1.Member{
		LegalName: m.GetLegalName(), Email: m.GetEmail(), Phone: m.GetPhone(), ContactNote: m.GetContactNote(),
	})
	return err
}

// newMember returns the row of a new member.
func newMember(ks *crypt.Keyset, org uuid.UUID, m *membershipv1.Member, now time.Time) (*memberRow, error) {
	wrapped, key, err := ks.NewDataKey()
	if err != nil {
		return nil, err
	}
	row := &memberRow{ID: aip.NewID(), OrgID: org, Revision: 1, DataKey: wrapped, CreateTime: now, UpdateTime: now}
	return row, row.set(m, key)
}

func (r *memberRow) args() pgx.NamedArgs {
	return pgx.NamedArgs{
		"id": r.ID, "org": r.OrgID, "revision": r.Revision, "alias": r.Alias, "role": r.Role, "birth_year": r.BirthYear,
		"languages": r.Languages, "locality": r.AreaLocality, "region": r.AreaRegion, "country": r.AreaCountry,
		"cancer_types": r.CancerTypes, "channel": r.PreferredChannel, "do_not_contact": r.DoNotContact, "details": r.Details, "mail_settings": r.MailSettings,
		"data_key": r.DataKey, "personal": r.Personal, "create_time": r.CreateTime, "update_time": r.UpdateTime,
	}
}

func insertMember(b *pgx.Batch, r *memberRow) {
	b.Queue(`INSERT INTO members (id, org_id, revision, alias, role, birth_year, languages, area_locality, area_region,
			area_country, cancer_types, preferred_channel, do_not_contact, details, mail_settings, data_key, personal, create_time, update_time)
		VALUES (@id, @org, @revision, @alias, @role, @birth_year, @languages, @locality, @region,
			@country, @cancer_types, @channel, @do_not_contact, @details::text::jsonb, @mail_settings::text::jsonb, @data_key, @personal, @create_time, @update_time)`, r.args())
}

// updateMember writes a row that the transaction has locked.
func updateMember(b *pgx.Batch, r *memberRow) {
	b.Queue(`UPDATE members SET revision = @revision, alias = @alias, role = @role, birth_year = @birth_year,
			languages = @languages, area_locality = @locality, area_region = @region, area_country = @country,
			cancer_types = @cancer_types, preferred_channel = @channel, do_not_contact = @do_not_contact,
			details = @details::text::jsonb, mail_settings = @mail_settings::text::jsonb, personal = @personal, update_time = @update_time
		WHERE id = @id`, r.args())
}

const selectMember = `SELECT ` + memberColumns + ` FROM members WHERE id = @id AND (@all OR org_id = @org) AND erase_time IS NULL`

// lockMember returns a member of the tenant, locked against other changes; pgx.ErrNoRows if there is none.
func lockMember(ctx context.Context, tx pg.Querier, t auth.Tenant, id uuid.UUID) (*memberRow, error) {
	rows, err := tx.Query(ctx, selectMember+` FOR NO KEY UPDATE`, pgx.NamedArgs{"id": id, "all": t.All, "org": t.Org})
	if err != nil {
		return nil, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[memberRow])
}

// findMember returns the member of an organization that has one of the identifiers, nil if there is none.
func findMember(ctx context.Context, tx pg.Querier, org uuid.UUID, known []identifierIndex) (*memberRow, error) {
	if len(known) == 0 {
		return nil, nil
	}
	digests := make([][]byte, len(known))
	for i, k := range known {
		digests[i] = k.digest
	}
	rows, err := tx.Query(ctx, `SELECT `+memberColumns+` FROM members
		WHERE org_id = @org AND erase_time IS NULL AND id = (
			SELECT member_id FROM member_identifiers WHERE org_id = @org AND digest = ANY(@digests) ORDER BY member_id LIMIT 1)
		FOR NO KEY UPDATE`, pgx.NamedArgs{"org": org, "digests": digests})
	if err != nil {
		return nil, err
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[memberRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return row, err
}

// identifyMember records identifiers of a member; one that the organization has given to somebody already stays hers.
// With fresh, an identifier in use is a unique violation of member_identifiers_pkey instead.
func identifyMember(b *pgx.Batch, ks *crypt.Keyset, r *memberRow, known []identifierIndex, fresh bool) error {
	if len(known) == 0 {
		return nil
	}
	key, err := ks.OpenDataKey(r.DataKey)
	if err != nil {
		return fmt.Errorf("%s: %w", r.name(), err)
	}
	digests, sealed, numbers := make([][]byte, len(known)), make([][]byte, len(known)), make([]int32, len(known))
	for i, k := range known {
		digests[i], numbers[i] = k.digest, int32(slices.IndexFunc(known, func(o identifierIndex) bool { return o.of == k.of }))
		if sealed[i], err = crypt.SealProto(key, r.name(), identifierField, k.of); err != nil {
			return err
		}
	}
	sql := `INSERT INTO member_identifiers AS i (org_id, digest, member_id, identifier)
		SELECT @org, k.digest, @id, k.identifier FROM unnest(@digests::bytea[], @sealed::bytea[], @numbers::int[]) AS k (digest, identifier, number)`
	if !fresh {
		sql += ` WHERE NOT EXISTS (
				SELECT FROM unnest(@digests::bytea[], @numbers::int[]) AS o (digest, number)
				JOIN member_identifiers x ON x.org_id = @org AND x.digest = o.digest AND x.member_id <> @id WHERE o.number = k.number)
			ON CONFLICT (org_id, digest) DO UPDATE SET identifier = EXCLUDED.identifier
			WHERE i.member_id = EXCLUDED.member_id AND i.identifier IS NULL`
	}
	b.Queue(sql, pgx.NamedArgs{"org": r.OrgID, "id": r.ID, "digests": digests, "sealed": sealed, "numbers": numbers})
	return nil
}
