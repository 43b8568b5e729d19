package fhirtest

import (
	"encoding/json"
	"fmt"
	"strings"
)

const (
	sdohcc    = "http://hl7.org/fhir/us/sdoh-clinicalcare/StructureDefinition/"
	usCore    = "http://hl7.org/fhir/us/core/StructureDefinition/"
	backport  = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
	smartSlot = "http://hl7.org/fhir/uv/smart-scheduling-links/StructureDefinition/"
)

// defined are the profiles whose definitions are in ../shared/data: the outside validator holds a resource that names one against it,
// but for slices told apart by profile or by existence, which it does not know.
var defined = []string{
	sdohcc + "SDOHCC-Consent", sdohcc + "SDOHCC-HealthcareService", sdohcc + "SDOHCC-Location", sdohcc + "SDOHCC-ServiceRequest",
	sdohcc + "SDOHCC-TaskForReferralManagement",
}

// undefined are the profiles that Cairn's resources name too, but whose definitions are not at hand: of each, the elements that its
// guide wants and FHIR does not are looked for, and nothing else that it says is checked.
var undefined = map[string][]string{
	"http://hl7.org/fhir/us/bser/StructureDefinition/referral-task": {"code", "focus", "for", "authoredOn", "requester", "owner"},
	usCore + "us-core-organization":                                 {"active", "name"},
	usCore + "us-core-patient":                                      {"identifier", "name", "gender"},
	sdohcc + "SDOHCC-HealthcareServiceForReferralManagement":        nil,
	smartSlot + "smart-scheduling-schedule":                         nil,
	smartSlot + "smart-scheduling-slot":                             nil,
	backport + "backport-subscription":                              nil,
	backport + "backport-subscription-notification-r4":              {"entry"},
	backport + "backport-subscription-status-r4":                    {"parameter"},
}

// profiled returns what is wrong with the profiles that a resource, and those in it, name: one that is in neither list is a mistake.
func profiled(body []byte) []string {
	var r map[string]any
	if err := json.Unmarshal(body, &r); err != nil {
		return nil // the validators say so
	}
	var issues []string
	var look func(v any)
	look = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, one := range v {
				look(one)
			}
		case map[string]any:
			if kind, ok := v["resourceType"].(string); ok {
				issues = append(issues, named(kind, v)...)
			}
			for _, inner := range v {
				look(inner)
			}
		}
	}
	look(r)
	return issues
}

// named checks the profiles that one resource names.
func named(kind string, resource map[string]any) []string {
	meta, _ := resource["meta"].(map[string]any)
	list, _ := meta["profile"].([]any)
	var issues []string
	for _, p := range list {
		full, _ := p.(string)
		url, _, _ := strings.Cut(full, "|")
		wants, known := undefined[url]
		for _, d := range defined {
			known = known || d == url
		}
		if !known {
			issues = append(issues, fmt.Sprintf("%s.meta.profile: %q is no profile that is known here: put it into one of the lists of profiles.go", kind, full))
		}
		for _, element := range wants {
			if resource[element] == nil {
				issues = append(issues, fmt.Sprintf("%s.%s: is missing (%s)", kind, element, url))
			}
		}
	}
	return issues
}
