package fhir

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"
	"google.golang.org/genproto/googleapis/type/date"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/formats/fhir/r4"
)

// doNotContact is the extension that says that a person must not be contacted.
const doNotContact = ownDefinitions + "do-not-contact"

// usCorePatient is the profile that a Patient meets who has identifier, name and gender.
const usCorePatient = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient"

// readOver are the extensions of a Patient that are read over: what they say is not needed to help her, so it is not kept.
var readOver = []string{
	"http://hl7.org/fhir/us/core/StructureDefinition/us-core-race",
	"http://hl7.org/fhir/us/core/StructureDefinition/us-core-ethnicity",
	"http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex",
	"http://hl7.org/fhir/us/core/StructureDefinition/us-core-sex",
	"http://hl7.org/fhir/us/core/StructureDefinition/us-core-genderIdentity",
	"http://hl7.org/fhir/us/core/StructureDefinition/us-core-tribal-affiliation",
}

// patientElements are what is taken of a Patient. Of names, telecoms and addresses those in use count; the others, and what is
// said of race, marriage and birth order, are not kept.
var patientElements = taken("Patient",
	"identifier.{system,value,use,type.coding.system,type.coding.code,type.coding.display,type.coding.version,type.text,period.start,period.end,assigner.reference,assigner.display}",
	"active", "gender", "birthDate", "deceased",
	"name.{use,text,family,given,prefix,suffix,period.start,period.end}",
	"telecom.{system,value,use,rank,period.start,period.end}",
	"address.{use,type,text,line,city,district,state,postalCode,country,period.start,period.end}",
	"communication.{preferred,language."+conceptParts+"}",
	"extension.{url,value.system,value.code,value.display,value.version,value."+conceptParts+"}",
	"extension.extension.{url,value.system,value.code,value.display,value.version,value."+conceptParts+"}",
	"maritalStatus."+conceptParts, "multipleBirth",
	"generalPractitioner.{reference,type,display,identifier.system,identifier.value}", "managingOrganization."+referenceParts,
).hinting("Patient.contact", "nothing is kept here of relatives; leave it out").
	hinting("Patient.photo", "no pictures are kept here; leave it out").
	hinting("Patient.link", "send the record that stands, without the others")

// subjectOf reads a Patient as the person of a referral. at is where it stands.
func subjectOf(doc *r4.Document, at string, now time.Time) (*referralv1.Referral_Subject, error) {
	p := &r4.Patient{}
	r, err := newReader(doc, at, patientElements, p)
	if err != nil {
		return nil, err
	}
	if p.Active != nil && !*p.Active {
		r.refuse("business-rule", "Patient.active", "is false: a record that is not in use cannot be referred")
	}
	if p.DeceasedBoolean != nil && *p.DeceasedBoolean || p.DeceasedDateTime != "" {
		r.refuse("business-rule", "Patient.deceased", "one who has died is not referred; send who is bereaved")
	}
	s := &referralv1.Referral_Subject{}
	r.patientIdentifiers(p, s)
	r.patientName(p, s, now)
	r.patientTelecom(p, s, now)
	r.patientAddress(p, s, now)
	r.patientLanguages(p, s)
	if p.BirthDate != "" {
		s.BirthDate = dateOf(p.BirthDate)
	}
	s.Gender = referralv1.Referral_Subject_Gender(numberFor(s.GetGender().Descriptor(), p.Gender))
	for i, e := range p.Extension {
		at := fmt.Sprintf("Patient.extension[%d]", i)
		switch {
		case e.Url == doNotContact && e.ValueBoolean != nil:
			s.DoNotContact = *e.ValueBoolean
		case e.Url == doNotContact:
			r.refuse("value", at, "needs valueBoolean")
		case !slices.Contains(readOver, e.Url):
			r.refuse("not-supported", at, "%q is no extension that is understood here: leave it out", clip(e.Url))
		}
	}
	return s, r.err()
}

func (r *reader) patientIdentifiers(p *r4.Patient, s *referralv1.Referral_Subject) {
	for i, id := range p.Identifier {
		at := fmt.Sprintf("Patient.identifier[%d]", i)
		switch {
		case id.Value == "":
			r.refuse("required", at+".value", "is missing")
		case id.System == "":
			r.refuse("required", at+".system", "is missing: whose number is it?")
		default:
			s.Identifiers = append(s.Identifiers, &referralv1.Referral_Subject_Identifier{System: id.System, Value: id.Value})
		}
	}
}

// current tells whether something with a use and a period is in use.
func current(use string, period *r4.Period, now time.Time) bool {
	if use == "old" {
		return false
	}
	if period == nil || period.End == "" {
		return true
	}
	n := min(len(period.End), len(time.DateOnly)) // as exact as it is said: "2026" ends with the year
	return period.End[:n] >= now.Format(time.DateOnly)[:n]
}

func (r *reader) patientName(p *r4.Patient, s *referralv1.Referral_Subject, now time.Time) {
	order := []string{"official", "usual", ""}
	names := slices.DeleteFunc(slices.Clone(p.Name), func(n r4.HumanName) bool { return !current(n.Use, n.Period, now) })
	slices.SortStableFunc(names, func(a, b r4.HumanName) int { return cmp.Compare(rankIn(order, a.Use), rankIn(order, b.Use)) })
	if len(names) == 0 {
		return
	}
	n := names[0]
	s.GivenName, s.FamilyName = strings.Join(n.Given, " "), n.Family
	if s.GivenName == "" && s.FamilyName == "" {
		s.FamilyName = n.Text
	}
}

func rankIn(order []string, use string) int {
	if i := slices.Index(order, use); i >= 0 {
		return i
	}
	return len(order)
}

func (r *reader) patientTelecom(p *r4.Patient, s *referralv1.Referral_Subject, now time.Time) {
	points := slices.DeleteFunc(slices.Clone(p.Telecom), func(t r4.ContactPoint) bool { return !current(t.Use, t.Period, now) || t.Value == "" })
	order := []string{"mobile", "home", ""}
	rank := func(t r4.ContactPoint) int32 {
		if t.Rank == nil {
			return 1 << 20
		}
		return *t.Rank
	}
	slices.SortStableFunc(points, func(a, b r4.ContactPoint) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(rankIn(order, a.Use), rankIn(order, b.Use)))
	})
	for _, t := range points {
		var preference referralv1.Referral_Subject_ContactPreference
		switch t.System {
		case "phone":
			s.Phone, preference = cmp.Or(s.GetPhone(), t.Value), referralv1.Referral_Subject_CALL
		case "sms":
			s.Phone, preference = cmp.Or(s.GetPhone(), t.Value), referralv1.Referral_Subject_TEXT_MESSAGE
		case "email":
			s.Email, preference = cmp.Or(s.GetEmail(), t.Value), referralv1.Referral_Subject_EMAIL
		default:
			continue
		}
		if rank(t) == 1 && s.GetContactPreference() == 0 {
			s.ContactPreference = preference
		}
	}
}

func (r *reader) patientAddress(p *r4.Patient, s *referralv1.Referral_Subject, now time.Time) {
	order := []string{"home", "", "temp"}
	best := -1
	for i, a := range p.Address {
		if current(a.Use, a.Period, now) && (best < 0 || rankIn(order, a.Use) < rankIn(order, p.Address[best].Use)) {
			best = i
		}
	}
	if best < 0 {
		return
	}
	a := p.Address[best]
	lines := slices.Clone(a.Line)
	if a.District != "" && !slices.Contains(lines, a.District) {
		lines = append(lines, a.District)
	}
	if len(lines) == 0 && a.Text != "" {
		lines = []string{strings.Join(strings.Fields(a.Text), " ")}
	}
	s.Address = &typev1.PostalAddress{AddressLines: lines, Locality: a.City, AdministrativeArea: a.State, PostalCode: a.PostalCode}
	if a.Country == "" {
		return
	}
	region, err := language.ParseRegion(a.Country)
	if err != nil || !region.IsCountry() {
		r.refuse("value", fmt.Sprintf("Patient.address[%d].country", best), "is no code of ISO 3166, such as US")
		return
	}
	s.Address.Country = region.String()
}

func (r *reader) patientLanguages(p *r4.Patient, s *referralv1.Referral_Subject) {
	for i, c := range p.Communication {
		coding := coded(c.Language, bcp47)
		if coding == nil || coding.Code == "" {
			r.refuse("code-invalid", fmt.Sprintf("Patient.communication[%d].language", i), "needs a code of %s, such as es", bcp47)
			continue
		}
		switch {
		case slices.Contains(s.GetLanguages(), coding.Code):
		case c.Preferred != nil && *c.Preferred:
			s.Languages = slices.Insert(s.Languages, 0, coding.Code)
		default:
			s.Languages = append(s.Languages, coding.Code)
		}
	}
}

// dateOf reads a FHIR date, the form of which has been checked: a year, a month or a day.
func dateOf(text string) *date.Date {
	d := &date.Date{}
	for i, part := range strings.Split(text, "-") {
		n, err := strconv.ParseInt(part, 10, 32)
		if err != nil {
			return nil
		}
		*[]*int32{&d.Year, &d.Month, &d.Day}[min(i, 2)] = int32(n)
	}
	return d
}

// dateText writes a date as FHIR does.
func dateText(d *date.Date) string {
	switch {
	case d == nil:
		return ""
	case d.GetMonth() == 0:
		return fmt.Sprintf("%04d", d.GetYear())
	case d.GetDay() == 0:
		return fmt.Sprintf("%04d-%02d", d.GetYear(), d.GetMonth())
	}
	return fmt.Sprintf("%04d-%02d-%02d", d.GetYear(), d.GetMonth(), d.GetDay())
}

// patientBody writes a person as a Patient.
func patientBody(id string, m *r4.Meta, organization string, s *referralv1.Referral_Subject) *r4.Patient {
	p := &r4.Patient{ResourceType: "Patient", Id: id, Meta: m, BirthDate: dateText(s.GetBirthDate())}
	if organization != "" {
		p.ManagingOrganization = &r4.Reference{Reference: reference("Organization", organization)}
	}
	for _, i := range s.GetIdentifiers() {
		p.Identifier = append(p.Identifier, r4.Identifier{System: i.GetSystem(), Value: i.GetValue()})
	}
	if s.GetGivenName() != "" || s.GetFamilyName() != "" {
		n := r4.HumanName{Family: s.GetFamilyName(), Text: strings.TrimSpace(s.GetGivenName() + " " + s.GetFamilyName())}
		n.Given = strings.Fields(s.GetGivenName())
		p.Name = []r4.HumanName{n}
	}
	if s.GetGender() != 0 {
		p.Gender = codeFor(s.GetGender())
	}
	p.Telecom = telecomBody(s)
	if a := s.GetAddress(); a != nil {
		p.Address = []r4.Address{{
			Line: a.GetAddressLines(), City: a.GetLocality(), State: a.GetAdministrativeArea(), PostalCode: a.GetPostalCode(), Country: a.GetCountry(),
		}}
	}
	for i, l := range s.GetLanguages() {
		c := r4.PatientCommunication{Language: concept(bcp47, l, "")}
		if i == 0 {
			c.Preferred = ptr(true)
		}
		p.Communication = append(p.Communication, c)
	}
	if s.GetDoNotContact() {
		p.Extension = []r4.Extension{{Url: doNotContact, ValueBoolean: ptr(true)}}
	}
	if m != nil && len(p.Identifier) > 0 && len(p.Name) > 0 && p.Gender != "" {
		m.Profile = []string{usCorePatient}
	}
	return p
}

func telecomBody(s *referralv1.Referral_Subject) []r4.ContactPoint {
	var points []r4.ContactPoint
	add := func(system, value string, preference referralv1.Referral_Subject_ContactPreference) {
		if value == "" {
			return
		}
		t := r4.ContactPoint{System: system, Value: value}
		if s.GetContactPreference() == preference {
			t.Rank = ptr(int32(1))
		}
		points = append(points, t)
	}
	add("phone", s.GetPhone(), referralv1.Referral_Subject_CALL)
	if s.GetContactPreference() == referralv1.Referral_Subject_TEXT_MESSAGE {
		add("sms", s.GetPhone(), referralv1.Referral_Subject_TEXT_MESSAGE)
	}
	add("email", s.GetEmail(), referralv1.Referral_Subject_EMAIL)
	return points
}

// reference turns a resource name of the services into a reference: "Organization", "organizations/{id}" to "Organization/{id}".
func reference(kind, name string) string {
	return kind + "/" + name[strings.LastIndexByte(name, '/')+1:]
}

func ptr[T any](v T) *T { return &v }
