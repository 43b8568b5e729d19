package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	referralv1 "cairn.care/gen/cairn/referral/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/demo"
)

// benchCreate compares CreateReferral with an insert of its row alone.
func benchCreate(ctx context.Context, b *bench) error {
	groups, err := b.quietGroups(ctx)
	if err != nil {
		return err
	}
	conn, err := b.demo.Conn(ctx, demo.Hospital, "referral")
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is under way
	api := referralv1.NewReferralServiceClient(conn)
	group := groups[0].GetName()
	create := b.from(func(ctx context.Context, client int) error {
		want := referralTo(group, fmt.Sprintf("Rosa %d", client))
		got, err := api.CreateReferral(ctx, &referralv1.CreateReferralRequest{Referral: want, RequestId: uuid.NewString()})
		if err == nil && (got.GetState() != referralv1.Referral_SENT || got.GetName() == "" ||
			got.GetSubject().GetGivenName() != want.GetSubject().GetGivenName() || got.GetRequestedGroup() != group) {
			err = fmt.Errorf("got %v, want %v, sent", got, want)
		}
		return err
	})
	var backlogs, drains []float64
	checked := func(ctx context.Context, d time.Duration) (sample, error) {
		before, err := b.server.written(ctx)
		if err != nil {
			return sample{}, err
		}
		s, err := create(ctx, d)
		if err != nil {
			return s, err
		}
		left, drained, err := b.drain(ctx)
		if err != nil {
			return s, err
		}
		backlogs, drains = append(backlogs, float64(left)), append(drains, drained.Seconds()*1e3)
		after, err := b.server.written(ctx)
		if want := before.plus(s.Ops); err == nil && after != want {
			err = fmt.Errorf("after %d referrals there are %+v, want %+v", s.Ops, after, want)
		}
		return s, err
	}
	p, err := b.alternate(ctx, checked, b.inside(bareInsert))
	if err != nil {
		return err
	}
	ours, yardstick, ratio := p.medians(sample.perSecond)
	cpu, bareCPU, _ := p.medians(sample.serverCPU)
	postgres, barePostgres, _ := p.medians(sample.postgresCPU)
	b.table.add(row{
		what:      fmt.Sprintf("CreateReferral to a group, gRPC, %d clients: row, timeline, event, audit, kept answer / bare insert of the row", clients),
		ours:      fmt.Sprintf("%s; CPU: server %s, PostgreSQL %s", rate(ours), micros(cpu), micros(postgres)),
		yardstick: fmt.Sprintf("%s; CPU: %s, %s", rate(yardstick), micros(bareCPU), micros(barePostgres)),
		ratio:     times(ratio), goal: "≥ 0.6×", met: ratio >= 0.6,
	})
	b.table.add(row{
		what: "the relay meanwhile: events waiting when the load ends, and until none waits",
		ours: fmt.Sprintf("%s; %.0f ms", thousands(median(backlogs)), median(drains)), goal: "keeps up: < 1 s", met: median(drains) < 1000,
	})
	return nil
}

// referralTo is a referral of somebody who has not been referred before.
func referralTo(group, given string) *referralv1.Referral {
	distress := int32(5)
	return &referralv1.Referral{
		Author: "Survivorship clinic, nurse navigator", PlacerNumber: "BENCH-1",
		Subject: &referralv1.Referral_Subject{
			GivenName: given, FamilyName: "Example", BirthDate: &date.Date{Year: 1971, Month: 5, Day: 2}, Phone: "+17135550142",
			Identifiers:       []*referralv1.Referral_Subject_Identifier{{System: "urn:example:bayou-regional:mrn", Value: "MRN-" + uuid.NewString()}},
			ContactPreference: referralv1.Referral_Subject_CALL,
		},
		ReasonCodes: []*typev1.Code{{System: "http://hl7.org/fhir/sid/icd-10-cm", Code: "Z85.3", Display: "Personal history of malignant neoplasm of breast"}},
		Needs: &referralv1.Needs{
			CancerTypes: []string{"breast"}, Phase: groupsv1.Group_AFTER_TREATMENT, Role: referralv1.Needs_SURVIVOR,
			SideEffects: []groupsv1.Group_SideEffect{groupsv1.Group_LYMPHOEDEMA}, Languages: []string{"es"}, Country: "US",
		},
		Distress: &distress, Urgency: referralv1.Referral_ROUTINE, RequestedGroup: group,
		Consent: &referralv1.Referral_Consent{
			Share:     []referralv1.Referral_Consent_Item{referralv1.Referral_Consent_NAME, referralv1.Referral_Consent_CONTACT},
			GrantTime: timestamppb.Now(),
		},
	}
}

// drain waits until no event of any service waits for its relay. It returns how many did at first
// and how long it took.
func (b *bench) drain(ctx context.Context) (left int, took time.Duration, err error) {
	start := time.Now()
	for first := true; ; first = false {
		w, err := b.server.backlog(ctx)
		if err != nil {
			return left, took, err
		}
		if took = time.Since(start); first {
			left = w.Events
		}
		switch {
		case w.Events == 0:
			return left, took, nil
		case took > time.Minute:
			return left, took, fmt.Errorf("%d events wait for their relay after a minute", w.Events)
		}
	}
}

func (s *server) backlog(ctx context.Context) (w backlog, err error) {
	return w, s.ask(ctx, "/bench/backlog", struct{}{}, &w)
}

func (s *server) analyze(ctx context.Context) error {
	return s.ask(ctx, "/bench/analyze", struct{}{}, new(struct{}))
}

func (s *server) written(ctx context.Context) (w written, err error) {
	return w, s.ask(ctx, "/bench/written", struct{}{}, &w)
}
