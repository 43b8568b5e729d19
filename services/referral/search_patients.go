package referral

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

// SearchPatients implements PatientsService.
func (s *server) SearchPatients(ctx context.Context, req *referralv1.SearchPatientsRequest) (*referralv1.SearchPatientsResponse, error) {
	org := auth.TenantFrom(ctx).Org
	query := []any{"SearchPatients", org, req.GetPatients(), req.GetIdentifiers()}
	before, more, err := page.Decode[uuid.UUID](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	if !more {
		before = uuid.Max
	}
	size := page.Size(req.GetPageSize())
	args := pgx.NamedArgs{"org": org, "before": before, "n": size + 1}
	condition := `p.org_id = @org AND p.erase_time IS NULL AND p.id < @before`
	if len(req.GetPatients()) > 0 {
		if args["ids"], err = parseNames("patients", "patients", req.GetPatients()); err != nil {
			return nil, err
		}
		condition += ` AND p.id = ANY(@ids)`
	}
	if len(req.GetIdentifiers()) > 0 {
		condition += ` AND p.id = ANY (` + whoHas(s, args, org, req.GetIdentifiers()) + `)`
	}
	var rows []*patientRow
	b := s.db.Batch(ctx)
	b.Queue(`SELECT `+patientColumns+` FROM patients p WHERE `+condition+` ORDER BY p.id DESC LIMIT @n`, args).Query(collect(&rows))
	audit.Queue(ctx, b, "patients/-")
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("search patients: %w", err)
	}
	rows, next, err := page.Cut(rows, size, func(p *patientRow) uuid.UUID { return p.ID }, query...)
	if err != nil {
		return nil, err
	}
	resp := &referralv1.SearchPatientsResponse{NextPageToken: next}
	var seen []string
	for _, p := range rows {
		m, err := s.patientToProto(p)
		if err != nil {
			return nil, err
		}
		resp.Patients, seen = append(resp.Patients, m), append(seen, p.name())
	}
	return resp, s.recordEach(ctx, seen)
}

// identifier is a number of a person that is looked for; an empty system is any.
type identifier interface {
	GetSystem() string
	GetValue() string
}

// whoHas returns an array, in SQL, of the organization's patients who have one of the identifiers: found first, whatever the order and the
// limit of what is looked for.
func whoHas[I identifier](s *server, args pgx.NamedArgs, org uuid.UUID, identifiers []I) string {
	var keys, values [][]byte
	for _, id := range identifiers {
		if id.GetSystem() == "" {
			values = append(values, s.valueKeysOf(org, id.GetValue())...)
		} else {
			keys = append(keys, s.identifierKeys(org, id.GetSystem(), id.GetValue())...)
		}
	}
	args["keys"], args["values"] = keys, values
	return `ARRAY(SELECT patient_id FROM patient_identifiers WHERE org_id = @org AND key = ANY(@keys::bytea[])
		UNION SELECT patient_id FROM patient_identifiers WHERE org_id = @org AND value_key = ANY(@values::bytea[]))`
}

// parseNames returns the ids in names of a collection; field is the request field that holds them.
func parseNames(field, collection string, names []string) ([]uuid.UUID, error) {
	all := make([]uuid.UUID, len(names))
	for i, name := range names {
		id, err := aip.ParseName(fmt.Sprintf("%s[%d]", field, i), collection, name)
		if err != nil {
			return nil, err
		}
		all[i] = id
	}
	return all, nil
}

// recordEach records that each of the resources is disclosed, before the answer is given.
func (s *server) recordEach(ctx context.Context, resources []string) error {
	if len(resources) == 0 {
		return nil
	}
	return s.db.Tx(ctx, func(tx pgx.Tx) error { return audit.InsertEach(ctx, tx, resources) })
}
