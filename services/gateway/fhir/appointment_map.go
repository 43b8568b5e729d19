package fhir

import (
	"fmt"
	"strings"
	"time"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	schedulingv1 "cairn.care/gen/cairn/scheduling/v1"
	"cairn.care/services/formats/fhir/r4"
)

const (
	// wayExtension says whether somebody comes into the room or takes part online, where a session has both.
	wayExtension = ownDefinitions + "appointment-way"

	cancellationReasons = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason"
)

// appointmentElements is what is taken in of an Appointment: all that is shown of one.
func appointmentElements() elements {
	const because = "no text is kept here that may tell something of her"
	return taken("Appointment", "status", "cancelationReason."+conceptParts, "start", "end", "created", "slot."+referenceParts, "basedOn."+referenceParts,
		"participant.{actor."+referenceParts+",status,required}", "extension.{url,value}").
		hinting("Appointment.comment", because).hinting("Appointment.description", because).hinting("Appointment.patientInstruction", because).
		hinting("Appointment.reasonCode", "the ServiceRequest says why").hinting("Appointment.reasonReference", "the ServiceRequest says why").
		hinting("Appointment.requestedPeriod", "choose a Slot").hinting("Appointment.serviceType", "the slot's group says what is offered").
		hinting("Appointment.minutesDuration", "the slot says how long it is")
}

// bookingWish is an Appointment as a caller wrote it.
type bookingWish struct {
	doc       *r4.Appointment
	status    string
	reason    referralv1.Booking_CancelReason
	slot      string // ids
	referral  string
	patient   string
	groups    []string
	way       schedulingv1.Rsvp_Way
	from, end time.Time // zero: not said
}

// readBooking reads an Appointment.
func readBooking(c *call, doc *r4.Document) (*bookingWish, error) {
	a := &r4.Appointment{}
	r, err := newReader(doc, "Appointment", appointmentElements(), a)
	if err != nil {
		return nil, err
	}
	w := &bookingWish{doc: a, status: a.Status}
	if len(a.Slot) != 1 {
		r.refuse("required", "Appointment.slot", "names the one Slot that is booked")
	} else if _, w.slot = idOf(c.base(), a.Slot[0].Reference, "Slot"); !isUUID(w.slot) {
		r.refuse("value", "Appointment.slot[0].reference", "is no Slot here, such as Slot/{id}")
	}
	switch len(a.BasedOn) {
	case 0:
	case 1:
		if _, w.referral = idOf(c.base(), a.BasedOn[0].Reference, "ServiceRequest"); !isUUID(w.referral) {
			r.refuse("value", "Appointment.basedOn[0].reference", "is no ServiceRequest here, such as ServiceRequest/{id}")
		}
	default:
		r.refuse("value", "Appointment.basedOn", "names one ServiceRequest at most")
	}
	for i := range a.Participant {
		w.readParticipant(c, r, i)
	}
	if w.referral == "" && w.patient == "" && len(r.issues) == 0 {
		r.refuse("required", "Appointment.participant", "nobody is named: give the Patient as a participant, or her ServiceRequest as basedOn")
	}
	if a.Start != "" {
		w.from = r.instantAt("Appointment.start", a.Start, false)
	}
	if a.End != "" {
		w.end = r.instantAt("Appointment.end", a.End, true)
	}
	w.readReason(r)
	w.readWay(r)
	return w, r.err()
}

func (w *bookingWish) readParticipant(c *call, r *reader, i int) {
	p := w.doc.Participant[i]
	at := fmt.Sprintf("Appointment.participant[%d]", i)
	if p.Actor == nil {
		r.refuse("required", at+".actor", "says who takes part: a Patient, a HealthcareService or a Location")
		return
	}
	if p.Required != "" && p.Required != "required" {
		r.refuse("not-supported", at+".required", "is required here: nobody is optional")
	}
	if p.Status == "declined" && w.status != "cancelled" {
		r.refuse("business-rule", at+".status", "who declines has no appointment: set status to cancelled")
	}
	switch kind, id := idOf(c.base(), p.Actor.Reference, "Patient", "HealthcareService", "Location"); {
	case !isUUID(id):
		r.refuse("value", at+".actor.reference", "is no Patient, HealthcareService or Location here")
	case kind != "Patient":
		w.groups = append(w.groups, id)
	case w.patient != "":
		r.refuse("value", at+".actor.reference", "is a second Patient; a place is for one")
	default:
		w.patient = id
	}
}

// readReason reads why it is cancelled: by the codes of HL7, of which those that begin with pat are the person's.
func (w *bookingWish) readReason(r *reader) {
	concept := w.doc.CancelationReason
	switch {
	case concept == nil:
		return
	case w.status != "cancelled" && w.status != "noshow": // app-4
		r.refuse("invariant", "Appointment.cancelationReason", "is for what is cancelled")
		return
	}
	for _, coding := range concept.Coding {
		if coding.System != cancellationReasons {
			continue
		}
		head, _, _ := strings.Cut(coding.Code, "-")
		switch head {
		case "pat":
			w.reason = referralv1.Booking_PERSON
			return
		case "prov", "maint", "meds", "other":
			w.reason = referralv1.Booking_ORGANIZATION
			return
		}
	}
	r.refuse("code-invalid", "Appointment.cancelationReason", "needs a code of %s: pat, prov or other, or one below them; no text is kept", cancellationReasons)
}

func (w *bookingWish) readWay(r *reader) {
	for i, e := range w.doc.Extension {
		at := fmt.Sprintf("Appointment.extension[%d]", i)
		switch {
		case e.Url != wayExtension:
			r.refuse("not-supported", at, "%s is not known here", clip(e.Url))
		case numberFor(w.way.Descriptor(), e.ValueCode) == 0:
			r.refuse("code-invalid", at+".value", "is in-person or online")
		default:
			w.way = schedulingv1.Rsvp_Way(numberFor(w.way.Descriptor(), e.ValueCode))
		}
	}
}

// agrees refuses what contradicts the slot.
func (w *bookingWish) agrees(s *schedulingv1.Session) error {
	return w.contradicts(s.GetGroup(), s.GetStartTime().AsTime(), s.GetEndTime().AsTime(), "the slot")
}

func (w *bookingWish) contradicts(group string, start, end time.Time, what string) error {
	var issues []r4.Issue
	refuse := func(expression, diagnostics string) {
		issues = append(issues, r4.Issue{Code: "value", Expression: expression, Diagnostics: diagnostics})
	}
	if !w.from.IsZero() && !w.from.Equal(start) {
		refuse("Appointment.start", what+" starts at "+start.Format(time.RFC3339)+": leave it out, or say the same")
	}
	if !w.end.IsZero() && !w.end.Equal(end) {
		refuse("Appointment.end", what+" ends at "+end.Format(time.RFC3339)+": leave it out, or say the same")
	}
	for _, id := range w.groups {
		if id != idIn(group) {
			refuse("Appointment.participant", what+" is one of HealthcareService/"+idIn(group)+", not "+id)
		}
	}
	return unprocessables(issues)
}

// sameAs refuses an update of what cannot be changed.
func (w *bookingWish) sameAs(b *referralv1.Booking) error {
	switch {
	case w.slot != idIn(b.GetSession()):
		return unprocessable("business-rule", "Appointment.slot", "cannot be changed: cancel this appointment and book another")
	case w.referral != "" && w.referral != idIn(b.GetReferral()):
		return unprocessable("business-rule", "Appointment.basedOn", "cannot be changed: cancel this appointment and book another")
	case w.patient != "" && b.GetPatient() != "" && w.patient != idIn(b.GetPatient()):
		return unprocessable("business-rule", "Appointment.participant", "cannot be changed: cancel this appointment and book another")
	case w.way != 0 && w.way != b.GetWay():
		return unprocessable("business-rule", "Appointment.extension", "cannot be changed: cancel this appointment and book another")
	}
	return w.contradicts(b.GetGroup(), b.GetStartTime().AsTime(), b.GetEndTime().AsTime(), "the appointment")
}

// appointmentBody shows a booking.
func appointmentBody(b *referralv1.Booking) *r4.Appointment {
	a := &r4.Appointment{
		ResourceType: "Appointment", Id: idIn(b.GetName()), Meta: meta(revisionOf(b.GetEtag()), b.GetUpdateTime().AsTime()),
		Extension: []r4.Extension{{Url: wayExtension, ValueCode: codeFor(b.GetWay())}},
		Status:    appointmentStatuses()[b.GetState()], Start: instant(b.GetStartTime().AsTime()), End: instant(b.GetEndTime().AsTime()),
		Slot: []r4.Reference{{Reference: reference("Slot", b.GetSession())}}, Created: instant(b.GetCreateTime().AsTime()),
		BasedOn: []r4.Reference{{Reference: reference("ServiceRequest", b.GetReferral())}},
	}
	person, group := "accepted", "accepted"
	switch b.GetState() {
	case referralv1.Booking_PENDING:
		person = "tentative"
	case referralv1.Booking_WAITLISTED:
		group = "tentative"
	case referralv1.Booking_CANCELLED:
		code := "other"
		switch b.GetCancelReason() {
		case referralv1.Booking_PERSON:
			code, person = "pat", "declined"
		case referralv1.Booking_SESSION:
			code, group = "prov", "declined"
		case referralv1.Booking_ANSWER, referralv1.Booking_ORGANIZATION:
			person = "declined"
		}
		a.CancelationReason = concept(cancellationReasons, code, "")
	}
	if b.GetPatient() != "" {
		a.Participant = append(a.Participant, r4.AppointmentParticipant{Actor: &r4.Reference{Reference: reference("Patient", b.GetPatient())}, Status: person})
	}
	for _, kind := range []string{"HealthcareService", "Location"} {
		a.Participant = append(a.Participant, r4.AppointmentParticipant{Actor: &r4.Reference{Reference: reference(kind, b.GetGroup())}, Status: group})
	}
	return a
}
