package fhir

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"cairn.care/services/formats/fhir/backport"
	"cairn.care/services/formats/fhir/r4"
	"cairn.care/services/gateway/oauth"
)

// guides are the implementation guides that the face is made for.
var guides = []string{
	"http://hl7.org/fhir/us/sdoh-clinicalcare/ImplementationGuide/hl7.fhir.us.sdoh-clinicalcare|3.0.0",
	"http://hl7.org/fhir/us/bser/ImplementationGuide/hl7.fhir.us.bser|2.0.0-ballot",
}

// capability is what there is, as the registry knows it.
func (f *Face) capability() *r4.CapabilityStatement {
	rest := r4.CapabilityStatementRest{
		Mode: "server",
		Documentation: "Errors are OperationOutcomes with expressions. Elements that are not understood are refused; the few that are read over stand in docs/ehr-workflows.md. " +
			"Unknown search parameters are refused unless Prefer: handling=lenient. Idempotency-Key (a UUID) makes a POST or PUT repeatable: for 24 hours the same again (of a PUT the same bytes, with or without If-Match) is done once, and answered with the resource as it is by then.",
		Security: &r4.CapabilityStatementRestSecurity{
			Cors: &f.options.CORS,
			Service: []r4.CodeableConcept{{Coding: []r4.Coding{{
				System: "http://terminology.hl7.org/CodeSystem/restful-security-service", Code: "SMART-on-FHIR",
			}}, Text: "SMART Backend Services: client_credentials with private_key_jwt"}},
			Description: "Access tokens of SMART Backend Services, with SMART 2 scopes such as system/Task.rus. The directory (Organization, HealthcareService, Location) is read without one.",
			Extension: []r4.Extension{{Url: "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris", Extension: []r4.Extension{
				{Url: "token", ValueUri: strings.TrimSuffix(f.options.PublicURL, "/") + oauth.TokenPath},
			}}},
		},
		Interaction: []r4.CapabilityStatementRestInteraction{
			{Code: "batch", Documentation: fmt.Sprintf("Up to %d entries, each by itself; each counts as a call of the rate limit. Once searches have found %d resources no other is begun (too-costly); all of it ends after %d seconds.", maxBatch, maxFound, int(bundleTime.Seconds()))},
			{Code: "transaction", Documentation: transactionLimits},
		},
	}
	for _, op := range f.operation {
		rest.Operation = append(rest.Operation, r4.CapabilityStatementRestResourceOperation{
			Name: strings.TrimPrefix(op.path, "$"), Definition: op.definition, Documentation: op.doc,
		})
	}
	for _, r := range f.all {
		rest.Resource = append(rest.Resource, f.capabilityOf(r))
	}
	version := "development"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		version = info.Main.Version
	}
	return &r4.CapabilityStatement{
		ResourceType: "CapabilityStatement", Id: "cairn", Url: f.base + "/metadata", Version: version, Name: "Cairn", Title: "Cairn FHIR R4 API", Status: "active",
		Date: f.clock.Now().UTC().Format("2006-01-02"), Kind: "instance", FhirVersion: "4.0.1", Publisher: "Cairn",
		Description: "Referrals of people living after cancer to support groups, and the directory of these groups.",
		Format:      []string{"json", fhirJSON}, ImplementationGuide: guides,
		Software:       &r4.CapabilityStatementSoftware{Name: "Cairn", Version: version},
		Implementation: &r4.CapabilityStatementImplementation{Description: "Cairn", Url: f.base},
		Rest:           []r4.CapabilityStatementRest{rest},
	}
}

func (f *Face) capabilityOf(r *resource) r4.CapabilityStatementRestResource {
	conditional, no, history := len(r.unless) > 0, false, r.history != nil
	out := r4.CapabilityStatementRestResource{
		Type: r.kind, SupportedProfile: r.profiles, Documentation: r.doc, Versioning: "no-version", ReadHistory: &history, UpdateCreate: &no,
		ConditionalCreate: &conditional, ConditionalUpdate: &no, ConditionalDelete: "not-supported", ConditionalRead: "full-support", ReferencePolicy: []string{"literal"},
	}
	for _, i := range []struct {
		there bool
		code  string
	}{
		{r.read != nil, "read"}, {r.vread != nil, "vread"}, {r.update != nil, "update"}, {r.remove != nil, "delete"},
		{r.history != nil, "history-instance"}, {r.create != nil, "create"}, {r.search != nil, "search-type"},
	} {
		if i.there {
			out.Interaction = append(out.Interaction, r4.CapabilityStatementRestResourceInteraction{Code: i.code})
		}
	}
	if r.update != nil || r.vread != nil || r.versions { // If-Match is welcome, and nowhere required
		out.Versioning = "versioned"
	}
	if r.kind == "Subscription" {
		for _, kind := range backport.Types() {
			out.Extension = append(out.Extension, r4.Extension{Url: backport.TopicCanonical, ValueCanonical: backport.Topic(kind)})
		}
		out.Operation = []r4.CapabilityStatementRestResourceOperation{{Name: "status", Definition: backport.StatusDefinition, Documentation: "How one subscription stands: GET Subscription/{id}/$status."}}
	}
	for _, p := range r.params {
		if strings.Contains(p.name, ".") {
			continue // a chain: told with the parameter that it begins with
		}
		out.SearchParam = append(out.SearchParam, r4.CapabilityStatementRestResourceSearchParam{
			Name: p.name, Definition: p.url(r.kind), Type: string(p.kind), Documentation: p.words(r),
		})
	}
	for _, i := range r.includes {
		out.SearchInclude = append(out.SearchInclude, r.kind+":"+i.param)
	}
	for _, other := range f.all {
		for _, i := range other.includes {
			if i.reverse && i.target == r.kind {
				out.SearchRevInclude = append(out.SearchRevInclude, other.kind+":"+i.param)
			}
		}
	}
	slices.Sort(out.SearchInclude)
	out.SearchInclude = slices.Compact(out.SearchInclude)
	return out
}

// url is the canonical URL of a search parameter.
func (p *param) url(kind string) string {
	if p.definition != "" {
		return p.definition
	}
	return "http://hl7.org/fhir/SearchParameter/" + kind + "-" + p.name
}

// words says how a parameter is used.
func (p *param) words(r *resource) string {
	out := []string{p.doc}
	if len(p.modifiers) > 0 {
		out = append(out, "Modifiers: :"+strings.Join(p.modifiers, ", :")+".")
	}
	if p.or {
		out = append(out, "Several values, with commas.")
	}
	if p.and {
		out = append(out, "May be there more than once.")
	}
	var chains []string
	for _, c := range r.params {
		if strings.HasPrefix(c.name, p.name+".") {
			chains = append(chains, c.name)
		}
	}
	if len(chains) > 0 {
		out = append(out, "Chains: "+strings.Join(chains, ", ")+".")
	}
	if slices.Contains(r.sorts, p.name) {
		out = append(out, "_sort takes it.")
	}
	return strings.Join(out, " ")
}

// configuration is SMART App Launch 2, "Conformance": what a backend service needs.
type configuration struct {
	Issuer            string   `json:"issuer"`
	JWKSURI           string   `json:"jwks_uri"`
	TokenEndpoint     string   `json:"token_endpoint"`
	GrantTypes        []string `json:"grant_types_supported"`
	AuthMethods       []string `json:"token_endpoint_auth_methods_supported"`
	SigningAlgorithms []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	Scopes            []string `json:"scopes_supported"`
	Capabilities      []string `json:"capabilities"`
	ChallengeMethods  []string `json:"code_challenge_methods_supported"`
}

// smartConfiguration is what a client that knows the FHIR address alone needs to get a token.
func (f *Face) smartConfiguration() configuration {
	issuer := f.options.PublicURL
	scopes := []string{"system/*.cruds", "system/*.rs"}
	for _, r := range f.all {
		letters := ""
		for _, l := range []struct {
			there  bool
			letter interaction
		}{{r.create != nil, creates}, {r.read != nil, reads}, {r.update != nil, updates}, {r.remove != nil, deletes}, {r.search != nil, searches}} {
			if l.there {
				letters += string(rune(l.letter))
			}
		}
		scopes = append(scopes, "system/"+r.kind+"."+letters)
	}
	return configuration{
		Issuer: issuer, JWKSURI: issuer + oauth.JWKSPath, TokenEndpoint: issuer + oauth.TokenPath,
		GrantTypes: []string{"client_credentials"}, AuthMethods: []string{"private_key_jwt"}, SigningAlgorithms: []string{"RS384", "ES384"},
		Scopes: scopes, Capabilities: []string{"client-confidential-asymmetric", "permission-v2"}, ChallengeMethods: []string{"S256"},
	}
}
