package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/demo"
)

// referralsRead is how many referrals are read and searched.
const referralsRead = 512

// benchFHIR compares what the FHIR API does with the same by REST and by gRPC: a referral read, found by its patient, and created.
func benchFHIR(ctx context.Context, b *bench) error {
	groups, err := b.quietGroups(ctx)
	if err != nil {
		return err
	}
	conn, err := b.demo.Conn(ctx, demo.Hospital, "referral")
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is under way
	token, err := b.demo.Token(ctx, demo.Hospital)
	if err != nil {
		return err
	}
	f := &fhirCaller{
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}, base: b.demo.HTTP, token: token, group: groups[0].GetName(),
		api: referralv1.NewReferralServiceClient(conn), records: referralv1.NewReferralRecordsServiceClient(conn), next: make([]int, clients),
	}
	defer f.http.CloseIdleConnections()
	if err := f.prepare(ctx); err != nil {
		return err
	}
	for _, m := range []struct {
		what             string
		fhir, rest, grpc operation
		goal             float64
	}{
		{"GET /fhir/R4/ServiceRequest/{id}", f.read("/fhir/R4/ServiceRequest/"), f.read("/v1/referrals/"), f.get, 0.7},
		{"GET /fhir/R4/ServiceRequest?patient.identifier=…", f.searchFHIR, f.searchREST, f.searchGRPC, 0.7},
		{"POST /fhir/R4/ServiceRequest, with Patient and Consent", f.createFHIR, f.createREST, f.createGRPC, 0.8},
	} {
		for _, other := range []struct {
			name string
			op   operation
			goal float64
		}{{"REST", m.rest, m.goal}, {"gRPC", m.grpc, m.goal * 0.7}} {
			p, err := b.alternate(ctx, b.settled(m.fhir), b.settled(other.op))
			if err != nil {
				return fmt.Errorf("%s: %w", m.what, err)
			}
			ours, yardstick, ratio := p.medians(sample.perSecond)
			cpu, otherCPU, _ := p.medians(sample.serverCPU)
			b.table.add(row{
				what: m.what + " / the same by " + other.name, goal: fmt.Sprintf("≥ %.1f×", other.goal),
				ours: fmt.Sprintf("%s; CPU: server %s", rate(ours), micros(cpu)), yardstick: fmt.Sprintf("%s; CPU: %s", rate(yardstick), micros(otherCPU)),
				ratio: times(ratio), met: ratio >= other.goal,
			})
		}
	}
	return nil
}

// settled is from, after which no event waits: what one stage leaves to do is not the next one's load.
func (b *bench) settled(op operation) stage {
	measured := b.from(op)
	return func(ctx context.Context, d time.Duration) (sample, error) {
		s, err := measured(ctx, d)
		if err == nil {
			_, _, err = b.drain(ctx)
		}
		return s, err
	}
}

// fhirCaller is a hospital that speaks FHIR, REST and gRPC.
type fhirCaller struct {
	http               *http.Client
	base, token, group string
	api                referralv1.ReferralServiceClient
	records            referralv1.ReferralRecordsServiceClient
	made               []*referralv1.Referral
	next               []int // by client
}

// prepare makes the referrals that are read and searched, each of another person.
func (f *fhirCaller) prepare(ctx context.Context) error {
	for i := range referralsRead {
		made, err := f.api.CreateReferral(ctx, &referralv1.CreateReferralRequest{Referral: referralTo(f.group, fmt.Sprintf("Rosa %d", i)), RequestId: uuid.NewString()})
		if err != nil {
			return fmt.Errorf("create referral: %w", err)
		}
		f.made = append(f.made, made)
	}
	return nil
}

// turn returns the referral that a client asks for next.
func (f *fhirCaller) turn(client int) *referralv1.Referral {
	r := f.made[(client+f.next[client]*clients)%len(f.made)]
	f.next[client]++
	return r
}

// call sends a request and returns the body of its answer.
func (f *fhirCaller) call(ctx context.Context, method, path, contentType string, body []byte, want int) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, f.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+f.token)
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := f.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end below
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return answer, err
}

// about checks that an answer is about a referral, and about the person it is for.
func about(answer []byte, r *referralv1.Referral) error {
	if _, id, _ := strings.Cut(r.GetName(), "/"); !bytes.Contains(answer, []byte(id)) {
		return fmt.Errorf("%s is not in %s", r.GetName(), answer)
	}
	return nil
}

func (f *fhirCaller) read(path string) operation {
	return func(ctx context.Context, client int) error {
		r := f.turn(client)
		_, id, _ := strings.Cut(r.GetName(), "/")
		answer, err := f.call(ctx, http.MethodGet, path+id, "", nil, http.StatusOK)
		if err != nil {
			return err
		}
		return about(answer, r)
	}
}

func (f *fhirCaller) get(ctx context.Context, client int) error {
	r := f.turn(client)
	got, err := f.api.GetReferral(ctx, &referralv1.GetReferralRequest{Name: r.GetName()})
	if err == nil && !proto.Equal(got.GetSubject(), r.GetSubject()) {
		err = fmt.Errorf("got %v, want %v", got.GetSubject(), r.GetSubject())
	}
	return err
}

func (f *fhirCaller) searchFHIR(ctx context.Context, client int) error {
	r := f.turn(client)
	identifier := r.GetSubject().GetIdentifiers()[0]
	answer, err := f.call(ctx, http.MethodGet, "/fhir/R4/ServiceRequest?patient.identifier="+url.QueryEscape(identifier.GetSystem()+"|"+identifier.GetValue()), "", nil, http.StatusOK)
	if err != nil {
		return err
	}
	return about(answer, r)
}

func search(r *referralv1.Referral) *referralv1.SearchReferralsRequest {
	identifier := r.GetSubject().GetIdentifiers()[0]
	return &referralv1.SearchReferralsRequest{SubjectIdentifiers: []*referralv1.SearchReferralsRequest_Identifier{{System: identifier.GetSystem(), Value: identifier.GetValue()}}}
}

func (f *fhirCaller) searchREST(ctx context.Context, client int) error {
	r := f.turn(client)
	body, err := protojson.Marshal(search(r))
	if err != nil {
		return err
	}
	answer, err := f.call(ctx, http.MethodPost, "/v1/referrals:search", "application/json", body, http.StatusOK)
	if err != nil {
		return err
	}
	return about(answer, r)
}

func (f *fhirCaller) searchGRPC(ctx context.Context, client int) error {
	r := f.turn(client)
	resp, err := f.records.SearchReferrals(ctx, search(r))
	if err == nil && (len(resp.GetReferrals()) != 1 || resp.GetReferrals()[0].GetName() != r.GetName()) {
		err = fmt.Errorf("found %v, want %s", resp.GetReferrals(), r.GetName())
	}
	return err
}

// created is what all three creations send.
func (f *fhirCaller) created() *referralv1.Referral { return referralTo(f.group, "Rosa") }

func (f *fhirCaller) createGRPC(ctx context.Context, _ int) error {
	got, err := f.api.CreateReferral(ctx, &referralv1.CreateReferralRequest{Referral: f.created(), RequestId: uuid.NewString()})
	if err == nil && got.GetState() != referralv1.Referral_SENT {
		err = fmt.Errorf("got %v, want it sent", got)
	}
	return err
}

func (f *fhirCaller) createREST(ctx context.Context, _ int) error {
	body, err := protojson.Marshal(f.created())
	if err != nil {
		return err
	}
	answer, err := f.call(ctx, http.MethodPost, "/v1/referrals", "application/json", body, http.StatusOK)
	if err == nil && !bytes.Contains(answer, []byte(`"state":"SENT"`)) {
		err = fmt.Errorf("got %s, want it sent", answer)
	}
	return err
}

func (f *fhirCaller) createFHIR(ctx context.Context, _ int) error {
	body, err := json.Marshal(serviceRequest(f.created(), strings.TrimPrefix(f.group, "groups/")))
	if err != nil {
		return err
	}
	answer, err := f.call(ctx, http.MethodPost, "/fhir/R4/ServiceRequest", "application/fhir+json", body, http.StatusCreated)
	if err == nil && !bytes.Contains(answer, []byte(`"status":"active"`)) {
		err = fmt.Errorf("got %s, want it active", answer)
	}
	return err
}

type object = map[string]any

// serviceRequest says a referral of [referralTo] in FHIR.
func serviceRequest(r *referralv1.Referral, group string) object {
	coded := func(system, code string) object {
		return object{"coding": []object{{"system": system, "code": code}}}
	}
	const own, acts = "https://cairn.care/fhir/CodeSystem/", "http://terminology.hl7.org/CodeSystem/v3-ActCode"
	s, reason := r.GetSubject(), r.GetReasonCodes()[0]
	return object{
		"resourceType": "ServiceRequest", "status": "active", "intent": "order", "priority": "routine", "code": coded("http://snomed.info/sct", "711281004"),
		"subject": object{"reference": "#p"}, "supportingInfo": []object{{"reference": "#c"}}, "requester": object{"display": r.GetAuthor()},
		"performer": []object{{"reference": "HealthcareService/" + group}}, "reasonCode": []object{coded(reason.GetSystem(), reason.GetCode())},
		"orderDetail": []object{coded(own+"care-phase", "after-treatment"), coded(own+"side-effect", "lymphoedema"), coded(own+"role", "survivor")},
		"extension":   []object{{"url": "https://cairn.care/fhir/StructureDefinition/distress", "valueInteger": r.GetDistress()}},
		"contained": []object{
			{
				"resourceType": "Patient", "id": "p", "identifier": []object{{"system": s.GetIdentifiers()[0].GetSystem(), "value": s.GetIdentifiers()[0].GetValue()}},
				"name": []object{{"family": s.GetFamilyName(), "given": []string{s.GetGivenName()}}}, "birthDate": "1971-05-02", "telecom": []object{{"system": "phone", "value": s.GetPhone()}},
			},
			{
				"resourceType": "Consent", "id": "c", "status": "active", "scope": coded("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
				"category": []object{coded(acts, "IDSCL")}, "patient": object{"reference": "#p"}, "dateTime": r.GetConsent().GetGrantTime().AsTime().Format(time.RFC3339), "policyRule": coded(acts, "OPTIN"),
				"provision": object{"type": "permit", "code": []object{coded(own+"consent-item", "name"), coded(own+"consent-item", "contact")}},
			},
		},
	}
}
