package referral

import (
	"time"

	"github.com/google/uuid"
)

// record is the part of a row that says whose it is among the referrer's people, and when it last changed.
type record struct {
	PatientID    *uuid.UUID  // nil: a draft that does not say whom, or not linked yet
	ChangeTime   *time.Time  // by the database's clock; nil until it has been read
	DuplicateIDs []uuid.UUID // the referrer's open ones of the same person and need
}

// recordColumns are the columns of record.
const recordColumns = `, r.patient_id, r.change_time, ARRAY(SELECT d.id FROM referrals d WHERE ` + duplicates + ` ORDER BY d.id LIMIT 20) AS duplicate_ids`

// duplicates is when d may be a duplicate of r: neither has ended, neither grew out of the other, and both may ask for the same. A
// patient is of one organization: to name that as well would have PostgreSQL look through all of its referrals while it has no statistics.
const duplicates = `d.patient_id = r.patient_id AND d.id <> r.id AND d.state < 10 AND r.state < 10
	AND d.parent_id IS DISTINCT FROM r.id AND r.parent_id IS DISTINCT FROM d.id
	AND (d.requested_group_id = r.requested_group_id OR same_need(d.needs, r.needs))`
