package referral

import (
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
)

// accessRow is a row of the audit log.
type accessRow struct {
	ID           int64
	At           time.Time
	CallerKind   string
	Caller       string
	Organization string
	OnBehalfOf   string
	Method       string
	Resource     string
	Access       string
	RequestID    string
	Purpose      string
	ReferralID   *uuid.UUID
	PatientID    *uuid.UUID
}

const accessColumns = `a.id, a.at, a.caller_kind, a.caller, a.organization, a.on_behalf_of, a.method, a.resource, a.access, a.request_id, a.purpose,
	referral_of(a.resource) AS referral_id,
	CASE WHEN a.resource ~ '^patients/[0-9a-f]{8}-' THEN substr(a.resource, 10, 36)::uuid
	     ELSE (SELECT r.patient_id FROM referrals r WHERE r.id = referral_of(a.resource)) END AS patient_id`

// accessOfOwn is that what was accessed is a referral that the tenant has made, something of one, or a patient of its.
const accessOfOwn = `(a.resource ~ '^(referrals|referralConcerns|bookings|patients)/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(/|$)'
	AND (@all OR referrer_of(a.resource) = @org))`

var callerKinds = map[string]referralv1.Access_CallerKind{
	"client": referralv1.Access_CLIENT, "user": referralv1.Access_PERSON, "service": referralv1.Access_SERVICE,
}

func (r *accessRow) toProto() *referralv1.Access {
	return &referralv1.Access{
		Name: fmt.Sprintf("accesses/%d", r.ID), AccessTime: timestamppb.New(r.At), Resource: r.Resource,
		Kind: referralv1.Access_Kind(referralv1.Access_Kind_value[r.Access]), Method: r.Method,
		CallerKind: callerKinds[r.CallerKind], Caller: r.Caller, Organization: r.Organization, OnBehalfOf: r.OnBehalfOf,
		Purpose: r.Purpose, RequestId: r.RequestID, Patient: optionalName("patients", r.PatientID),
		Referral: optionalName("referrals", r.ReferralID),
	}
}
