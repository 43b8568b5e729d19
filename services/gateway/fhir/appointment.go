package fhir

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/formats/fhir/r4"
)

// appointment is the places that are booked in sessions: of the referral service, which asks scheduling for them.
func appointment() *resource {
	return &resource{
		kind: "Appointment", reads: []string{"referrals.read"}, writes: []string{"referrals.write"},
		doc: "A place in a session of a group (`slot`) for a person (`participant`) whom a referral (`basedOn`) has placed there; either of the two is enough, if it says whom. " +
			"Creating one says yes for her: `booked`, or `waitlist` where all places are taken. Who runs a group takes people in, so a referral whose Task is not accepted yet is refused " +
			"with 422; when it is accepted her first session is found by itself, and an Appointment is only needed for another. It follows what happens: `cancelled` with the session or " +
			"when she says no, `pending` when she says maybe, `booked` when a place becomes free, `fulfilled` and `noshow` with the attendance. An update changes the status to `cancelled`, " +
			"with a cancelationReason, and nothing else. Where a session is held both ways, the extension appointment-way says `in-person` or `online`. There is one for a referral and a slot: booked again after it was cancelled it has the same id.",
		read: readAppointment, search: searchAppointments, create: createAppointment, update: updateAppointment,
		params: []param{
			byID(), byUpdate(),
			{name: "patient", kind: referenceParam, targets: []string{"Patient"}, or: true, doc: "The person."},
			{name: "actor", kind: referenceParam, targets: []string{"Patient", "HealthcareService", "Location"}, or: true, doc: "The person, or the group."},
			{name: "based-on", kind: referenceParam, targets: []string{"ServiceRequest"}, or: true, doc: "The referral."},
			{name: "slot", kind: referenceParam, targets: []string{"Slot"}, or: true, doc: "The session."},
			{name: "date", kind: dateParam, and: true, doc: "When it starts."},
			{name: "status", kind: tokenParam, or: true, doc: "booked, waitlist, pending, cancelled, fulfilled or noshow."},
		},
		sorts: []string{"date"},
		includes: []include{
			{param: "slot", target: "Slot", reverse: true, of: appointmentSlots},
			{param: "patient", target: "Patient", reverse: true, of: appointmentActors},
			{param: "actor", target: "HealthcareService", of: appointmentActors},
			{param: "actor", target: "Location", of: appointmentActors},
			{param: "based-on", target: "ServiceRequest", reverse: true, of: func(body any) []string {
				if a, ok := body.(*r4.Appointment); ok && len(a.BasedOn) > 0 {
					return []string{a.BasedOn[0].Reference}
				}
				return nil
			}},
		},
		fields: map[string]string{
			"booking.referral": "Appointment.basedOn", "booking.session": "Appointment.slot", "booking.way": "Appointment.extension", "reason": "Appointment.cancelationReason",
		},
	}
}

func appointmentSlots(body any) []string {
	if a, ok := body.(*r4.Appointment); ok && len(a.Slot) > 0 {
		return []string{a.Slot[0].Reference}
	}
	return nil
}

func appointmentActors(body any) []string {
	a, ok := body.(*r4.Appointment)
	if !ok {
		return nil
	}
	var out []string
	for _, p := range a.Participant {
		out = append(out, p.Actor.Reference)
	}
	return out
}

// appointmentStatuses are the codes of the states of bookings.
func appointmentStatuses() map[referralv1.Booking_State]string {
	return map[referralv1.Booking_State]string{
		referralv1.Booking_PENDING: "pending", referralv1.Booking_BOOKED: "booked", referralv1.Booking_WAITLISTED: "waitlist",
		referralv1.Booking_CANCELLED: "cancelled", referralv1.Booking_ATTENDED: "fulfilled", referralv1.Booking_MISSED: "noshow",
	}
}

func readAppointment(ctx context.Context, c *call, id string) (*item, error) {
	b, err := c.booking(ctx, id)
	if err != nil {
		return nil, err
	}
	return appointmentItem(b), nil
}

func (c *call) booking(ctx context.Context, id string) (*referralv1.Booking, error) {
	if !isUUID(id) {
		return nil, missing("Appointment", id)
	}
	b, err := c.bookings.GetBooking(ctx, &referralv1.GetBookingRequest{Name: "bookings/" + id})
	if status.Code(err) == codes.NotFound {
		return nil, missing("Appointment", id)
	}
	return b, err
}

func searchAppointments(ctx context.Context, c *call, s *search) (*page, error) {
	if len(s.sort) > 0 && s.sort[0].descending {
		return nil, malformed("not-supported", "", "appointments are sorted by date, soonest first")
	}
	req, nothing, err := bookingsRequest(s)
	if err != nil || nothing {
		return &page{}, err
	}
	resp, err := c.bookings.ListBookings(ctx, req)
	if err != nil {
		return nil, err
	}
	out := &page{next: resp.GetNextPageToken()}
	for _, b := range resp.GetBookings() {
		out.items = append(out.items, appointmentItem(b))
	}
	if out.next == "" && s.cursor == "" {
		out.total = ptr(len(out.items))
	}
	return out, nil
}

// bookingsRequest asks the service for what a search wants; true if nothing can be found.
func bookingsRequest(s *search) (*referralv1.ListBookingsRequest, bool, error) {
	req := &referralv1.ListBookingsRequest{PageSize: int32(s.count), PageToken: s.cursor}
	for _, by := range []struct {
		param, collection string
		into              *[]string
	}{
		{"_id", "bookings", &req.Bookings}, {"patient", "patients", &req.Patients},
		{"based-on", "referrals", &req.Referrals}, {"slot", "sessions", &req.Sessions},
	} {
		ids, asked := s.ids(by.param)
		if *by.into = distinct(names(by.collection, ids)); asked && len(ids) == 0 {
			return nil, true, nil
		}
	}
	if actors := s.values("actor"); actors != nil {
		for _, v := range actors {
			if isUUID(v.id) && v.kind != "Patient" {
				req.Actors = append(req.Actors, "groups/"+v.id)
			}
			if isUUID(v.id) && (v.kind == "Patient" || v.kind == "") {
				req.Actors = append(req.Actors, "patients/"+v.id)
			}
		}
		if req.Actors = distinct(req.Actors); len(req.Actors) == 0 {
			return nil, true, nil
		}
	}
	var all []string
	if wanted := s.values("status"); wanted != nil {
		var states []string
		for state, code := range appointmentStatuses() {
			if hasToken(wanted, "http://hl7.org/fhir/appointmentstatus", code) {
				states = append(states, "state = "+state.String())
			}
		}
		if len(states) == 0 {
			return nil, true, nil
		}
		slices.Sort(states)
		all = append(all, "("+strings.Join(states, " OR ")+")")
	}
	for name, field := range map[string]string{"date": "start_time", "_lastUpdated": "update_time"} {
		when, err := s.span(name)
		if err != nil {
			return nil, false, err
		}
		if !when.from.IsZero() {
			all = append(all, fmt.Sprintf("%s >= %q", field, instant(when.from)))
		}
		if !when.before.IsZero() {
			all = append(all, fmt.Sprintf("%s < %q", field, instant(when.before)))
		}
	}
	slices.Sort(all) // pages are of the same words
	req.Filter = strings.Join(all, " AND ")
	return req, false, nil
}

// distinct sorts names and drops those that are there twice.
func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

func createAppointment(ctx context.Context, c *call, doc *r4.Document) (*item, error) {
	want, err := readBooking(c, doc)
	if err != nil {
		return nil, err
	}
	switch want.status {
	case "proposed", "pending", "booked":
	default:
		return nil, unprocessable("business-rule", "Appointment.status", "an appointment is created as booked, or proposed; what came of it is told")
	}
	at, err := c.listSlots(ctx, &schedulingv1.ListSlotsRequest{Sessions: []string{"sessions/" + want.slot}})
	if err != nil {
		return nil, err
	}
	if len(at.GetSlots()) == 0 {
		return nil, unprocessable("not-found", "Appointment.slot", "Slot/%s does not exist", want.slot)
	}
	session := at.GetSlots()[0].GetSession()
	if err := want.agrees(session); err != nil {
		return nil, err
	}
	if want.referral, err = c.referralFor(ctx, want, session.GetGroup()); err != nil {
		return nil, err
	}
	b, err := c.bookings.CreateBooking(ctx, &referralv1.CreateBookingRequest{
		Booking:   &referralv1.Booking{Referral: "referrals/" + want.referral, Session: session.GetName(), Way: want.way},
		RequestId: c.requestID,
	})
	if status.Code(err) == codes.NotFound {
		return nil, unprocessable("not-found", "Appointment.basedOn", "ServiceRequest/%s does not exist or is not visible to you", want.referral)
	}
	if err != nil {
		return nil, err
	}
	return appointmentItem(b), nil
}

// referralFor returns the id of the referral that is meant: the one that is named, or the one that has placed the person in the group.
func (c *call) referralFor(ctx context.Context, want *bookingWish, group string) (string, error) {
	if want.referral != "" {
		r, err := c.referral(ctx, "ServiceRequest", want.referral)
		if err != nil {
			return "", unprocessable("not-found", "Appointment.basedOn", "ServiceRequest/%s does not exist or is not visible to you", want.referral)
		}
		if want.patient != "" && r.GetPatient() != "patients/"+want.patient {
			return "", unprocessable("value", "Appointment.participant", "Patient/%s is not the person of ServiceRequest/%s", want.patient, want.referral)
		}
		return want.referral, nil
	}
	resp, err := c.records.SearchReferrals(ctx, &referralv1.SearchReferralsRequest{
		Patients: []string{"patients/" + want.patient},
		States: []referralv1.Referral_State{
			referralv1.Referral_ACCEPTED, referralv1.Referral_WAITLISTED, referralv1.Referral_SCHEDULED, referralv1.Referral_NO_SHOW,
			referralv1.Referral_SESSION_CANCELLED, referralv1.Referral_ENGAGED,
		},
		PageSize: maxListed,
	})
	if err != nil {
		return "", err
	}
	for _, r := range resp.GetReferrals() {
		if r.GetGroup() == group {
			return idIn(r.GetName()), nil
		}
	}
	return "", unprocessable("business-rule", "Appointment.participant", "no referral that you see has placed Patient/%s in the group of this slot: "+
		"refer her with a ServiceRequest (performer HealthcareService/%s), and book when its Task is accepted", want.patient, idIn(group))
}

// updateAppointment cancels; sent back as it is, it changes nothing.
func updateAppointment(ctx context.Context, c *call, id string, doc *r4.Document) (*item, error) {
	want, err := readBooking(c, doc)
	if err != nil {
		return nil, err
	}
	b, err := c.booking(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := want.sameAs(b); err != nil {
		return nil, err
	}
	now := appointmentStatuses()[b.GetState()]
	if want.status != now && want.status != "cancelled" {
		return nil, unprocessable("business-rule", "Appointment.status", "an appointment that is %s can become cancelled, not %s; to book again, create it again", now, want.status)
	}
	if want.status == now && want.status != "cancelled" {
		if c.ifMatch != "" && c.etag() != b.GetEtag() {
			return nil, &refusal{412, "ETAG_MISMATCH", []r4.Issue{{Code: "conflict", Diagnostics: "the appointment is at version " + revisionOf(b.GetEtag()) + ": read it again"}}}
		}
		return appointmentItem(b), nil
	}
	b, err = c.bookings.CancelBooking(ctx, &referralv1.CancelBookingRequest{Name: b.GetName(), Reason: want.reason, Etag: c.etag(), RequestId: c.requestID})
	if status.Code(err) == codes.NotFound {
		return nil, missing("Appointment", id)
	}
	if err != nil {
		return nil, err
	}
	return appointmentItem(b), nil
}

func appointmentItem(b *referralv1.Booking) *item {
	body := appointmentBody(b)
	return &item{kind: "Appointment", id: body.Id, version: body.Meta.VersionId, updated: b.GetUpdateTime().AsTime(), body: body}
}
