package referral

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/page"
)

func bookingFields() aip.Fields {
	return aip.Fields{
		"name":               aip.Ref("b.id", "bookings"),
		"patient":            aip.Ref("r.patient_id", "patients"),
		"referral":           aip.Ref("b.referral_id", "referrals"),
		"session":            aip.Ref("b.session_id", "sessions"),
		"group":              aip.Ref("b.group_id", "groups"),
		"organization":       aip.Ref("r.org_id", "organizations"),
		"owner_organization": aip.Ref("r.owner_org_id", "organizations"),
		"state":              aip.Enum("b.state", referralv1.Booking_State_value),
		"start_time":         aip.Instant("b.start_time"),
		"create_time":        aip.Instant("b.create_time"),
		"update_time":        aip.Instant("b.update_time"),
	}
}

// bookingCursor is the last booking of a page.
type bookingCursor struct {
	Start time.Time `json:"s"`
	ID    uuid.UUID `json:"i"`
}

// ListBookings implements BookingsService.
func (s *server) ListBookings(ctx context.Context, req *referralv1.ListBookingsRequest) (*referralv1.ListBookingsResponse, error) {
	tenant, size := auth.TenantFrom(ctx), page.Size(req.GetPageSize())
	query := []any{"ListBookings", tenant, req.GetFilter(), req.GetBookings(), req.GetPatients(), req.GetReferrals(), req.GetSessions(), req.GetActors()}
	after, more, err := page.Decode[bookingCursor](req.GetPageToken(), query...)
	if err != nil {
		return nil, err
	}
	args := pgx.NamedArgs{"all": tenant.All, "org": tenant.Org, "n": size + 1}
	where, err := aip.Filter(req.GetFilter(), bookingFields(), args)
	if err != nil {
		return nil, err
	}
	named, err := bookingsNamed(req, args)
	if err != nil {
		return nil, err
	}
	where += named
	if more {
		where += ` AND (b.start_time, b.id) > (@after, @after_id)`
		args["after"], args["after_id"] = after.Start, after.ID
	}
	var found []*bookingRow
	if err := s.db.Tx(ctx, func(tx pgx.Tx) error {
		if found, err = queryBookings(ctx, tx, `b.answer_revision > 0 AND `+visible+` AND `+where+` ORDER BY b.start_time, b.id LIMIT @n`, args); err != nil {
			return err
		}
		return show(ctx, tx, new(pgx.Batch), "bookings/-", upTo(size, found))
	}); err != nil {
		return nil, fmt.Errorf("list bookings: %w", err)
	}
	found, next, err := page.Cut(found, size, func(b *bookingRow) bookingCursor { return bookingCursor{b.StartTime, b.ID} }, query...)
	if err != nil {
		return nil, err
	}
	resp := &referralv1.ListBookingsResponse{NextPageToken: next}
	for _, b := range found {
		resp.Bookings = append(resp.Bookings, b.toProto())
	}
	return resp, nil
}

// bookingsNamed narrows a listing to what is named, for callers that name more than a filter can hold.
func bookingsNamed(req *referralv1.ListBookingsRequest, args pgx.NamedArgs) (string, error) {
	where := ""
	for _, f := range []struct {
		field, collection string
		names             []string
		column            string
	}{
		{"bookings", "bookings", req.GetBookings(), "b.id"},
		{"patients", "patients", req.GetPatients(), "r.patient_id"},
		{"referrals", "referrals", req.GetReferrals(), "b.referral_id"},
		{"sessions", "sessions", req.GetSessions(), "b.session_id"},
	} {
		if len(f.names) == 0 {
			continue
		}
		ids, err := parseNames(f.field, f.collection, f.names)
		if err != nil {
			return "", err
		}
		where += ` AND ` + f.column + ` = ANY(@` + f.field + `)`
		args[f.field] = ids
	}
	if len(req.GetActors()) == 0 {
		return where, nil
	}
	var people, groups []string
	for _, name := range req.GetActors() {
		if strings.HasPrefix(name, "groups/") {
			groups = append(groups, name)
		} else {
			people = append(people, name)
		}
	}
	actingPeople, err := parseNames("actors", "patients", people)
	if err != nil {
		return "", err
	}
	actingGroups, err := parseNames("actors", "groups", groups)
	if err != nil {
		return "", err
	}
	args["acting_people"], args["acting_groups"] = actingPeople, actingGroups
	return where + ` AND (r.patient_id = ANY(@acting_people) OR b.group_id = ANY(@acting_groups))`, nil
}
