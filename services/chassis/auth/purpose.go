package auth

import (
	"slices"
	"strings"

	"cairn.care/services/chassis/fault"
)

// PurposeHeader is the metadata key, and in HTTP the header X-Purpose-Of-Use, by which a caller says why it looks at or changes
// personal data.
const PurposeHeader = "x-purpose-of-use"

// purposes are those codes of HL7 v3 PurposeOfUse for which Cairn may be used.
var purposes = []string{"TREAT", "ETREAT", "CAREMGT", "COC", "HOPERAT", "HPAYMT", "HQUALIMP", "HLEGAL", "HCOMPL", "PUBHLTH", "PATRQT", "FAMRQT"}

// WithPurpose returns the principal with the purpose that it says; empty says nothing.
func (p Principal) WithPurpose(purpose string) (Principal, error) {
	if purpose != "" && !slices.Contains(purposes, purpose) {
		return p, fault.Invalid(fault.Field("X-Purpose-Of-Use", "must be one of %s (HL7 v3 PurposeOfUse)", strings.Join(purposes, ", ")))
	}
	p.Purpose = purpose
	return p, nil
}
