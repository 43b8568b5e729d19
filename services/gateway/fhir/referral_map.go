package fhir

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/formats/fhir/r4"
)

// What a ServiceRequest and a Task say alike of the referral that they are made of.

// idIn returns the last part of a resource name.
func idIn(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// dateTime writes a time as FHIR does; empty for none.
func dateTime(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return instant(t.AsTime())
}

// stamp is a time for the services; nil for none.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// revisionOf returns the version that an etag names: `"7"` is "7".
func revisionOf(etag string) string { return strings.Trim(strings.TrimPrefix(etag, "W/"), `"`) }

// priorityOf returns how soon help is needed, as the value set request-priority has it.
func priorityOf(r *referralv1.Referral) string {
	if r.GetUrgency() == referralv1.Referral_URGENCY_UNSPECIFIED {
		return "routine"
	}
	return codeFor(r.GetUrgency())
}

func urgencyOf(priority string) referralv1.Referral_Urgency {
	return referralv1.Referral_Urgency(numberFor(referralv1.Referral_ROUTINE.Descriptor(), priority))
}

// personOf refers to the person of a referral.
func personOf(r *referralv1.Referral) *r4.Reference {
	return &r4.Reference{Reference: reference("Patient", r.GetPatient())}
}

// requesterOf refers to who refers: the organization, and in words the author.
func requesterOf(r *referralv1.Referral) *r4.Reference {
	return &r4.Reference{Reference: reference("Organization", r.GetOrganization()), Display: r.GetAuthor()}
}

// authoredOn is when a referral was written, as its author says, or else when it came.
func authoredOn(r *referralv1.Referral) string {
	return dateTime(cmp.Or(r.GetAuthorTime(), r.GetCreateTime()))
}

// orderNumbers are the numbers of both sides: placer and filler.
func orderNumbers(r *referralv1.Referral) []r4.Identifier {
	var ids []r4.Identifier
	add := func(code, words, system, value, organization string) {
		if value == "" {
			return
		}
		id := r4.Identifier{Type: concept(identifierTypes, code, words), System: system, Value: value}
		if organization != "" {
			id.Assigner = &r4.Reference{Reference: reference("Organization", organization)}
		}
		ids = append(ids, id)
	}
	add("PLAC", "Placer Identifier", r.GetPlacerSystem(), r.GetPlacerNumber(), r.GetOrganization())
	add("FILL", "Filler Identifier", r.GetFillerSystem(), r.GetFillerNumber(), r.GetOwnerOrganization())
	return ids
}

// revision is a version as a number, 0 if it is none.
func revision(version string) int64 {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
