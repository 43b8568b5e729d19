package referral

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/audit"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/page"
)

// recommendationRow is a row of recommendations.
type recommendationRow struct {
	ID         uuid.UUID
	ReferralID uuid.UUID
	CreateTime time.Time
	Version    string
	Threshold  int32
	Language   string
	Entries    []byte // JSON list of recommendedEntry
}

const recommendationColumns = `id, referral_id, create_time, version, threshold, language, entries`

// recommendedEntry is a group that was recommended, as the database keeps it.
type recommendedEntry struct {
	Group    string  `json:"group"`
	Score    float64 `json:"score"`
	NearMiss bool    `json:"nearMiss,omitempty"`
}

func (r *recommendationRow) toProto(of *row) (*referralv1.RecommendationRecord, error) {
	var entries []recommendedEntry
	if err := json.Unmarshal(r.Entries, &entries); err != nil {
		return nil, fmt.Errorf("recommendation %s: %w", r.ID, err)
	}
	m := &referralv1.RecommendationRecord{
		Name: fmt.Sprintf("%s/recommendations/%s", of.name(), r.ID), CreateTime: timestamppb.New(r.CreateTime),
		Weighting: weightingPrefix + r.Version, DistressThreshold: r.Threshold, LanguageCode: r.Language,
	}
	for _, e := range entries {
		m.Entries = append(m.Entries, &referralv1.RecommendationRecord_Entry{Group: e.Group, Score: e.Score, NearMiss: e.NearMiss})
	}
	return m, nil
}

// insertRecommendation queues the record of what was recommended for a referral, which must be there still.
func insertRecommendation(b *pgx.Batch, now time.Time, referral uuid.UUID, resp *referralv1.RecommendGroupsResponse) error {
	entries := make([]recommendedEntry, 0, len(resp.GetRecommendations())+len(resp.GetNearMisses()))
	for _, r := range resp.GetRecommendations() {
		entries = append(entries, recommendedEntry{Group: r.GetGroup().GetName(), Score: r.GetScore()})
	}
	for _, r := range resp.GetNearMisses() {
		entries = append(entries, recommendedEntry{Group: r.GetGroup().GetName(), Score: r.GetScore(), NearMiss: true})
	}
	raw, err := json.Marshal(entries)
	if err != nil {
		return fmt.Errorf("encode recommendation: %w", err)
	}
	b.Queue(`INSERT INTO recommendations (id, referral_id, create_time, version, threshold, language, entries)
		SELECT @id, r.id, @now, @version, @threshold, @language, @entries FROM referrals r WHERE r.id = @referral`, pgx.NamedArgs{
		"id": aip.NewID(), "referral": referral, "now": now, "version": resp.GetWeightsVersion(), "threshold": resp.GetDistressThreshold(),
		"language": resp.GetLanguageCode(), "entries": raw,
	})
	return nil
}

// keepRecommendation records what was recommended for a referral.
func (s *server) keepRecommendation(ctx context.Context, name string, resp *referralv1.RecommendGroupsResponse) error {
	id, err := aip.ParseName("referral", "referrals", name)
	if err != nil {
		return err
	}
	b := s.db.Batch(ctx)
	if err := insertRecommendation(b, s.clock.Now(), id, resp); err != nil {
		return err
	}
	if err := s.db.Send(ctx, b); err != nil {
		return fmt.Errorf("keep recommendation: %w", err)
	}
	return nil
}

// ListRecommendations implements WeightingsService.
func (s *server) ListRecommendations(ctx context.Context, req *referralv1.ListRecommendationsRequest) (*referralv1.ListRecommendationsResponse, error) {
	id, err := aip.ParseName("parent", "referrals", req.GetParent())
	if err != nil {
		return nil, err
	}
	before, more, err := page.Decode[uuid.UUID](req.GetPageToken(), "ListRecommendations", id)
	if err != nil {
		return nil, err
	}
	if !more {
		before = uuid.Max
	}
	tenant, size := auth.TenantFrom(ctx), page.Size(req.GetPageSize())
	args := pgx.NamedArgs{"id": id, "all": tenant.All, "org": tenant.Org}
	var found []*row
	var rows []*recommendationRow
	b := s.db.Batch(ctx)
	b.Queue(selectReferral, args).Query(collect(&found))
	b.Queue(`SELECT `+recommendationColumns+` FROM recommendations
		WHERE referral_id = @id AND id < @before ORDER BY id DESC LIMIT @n`, pgx.NamedArgs{"id": id, "before": before, "n": size + 1}).Query(collect(&rows))
	audit.QueueIf(ctx, b, req.GetParent(), selectReferral, args)
	if err := s.db.Send(ctx, b); err != nil {
		return nil, fmt.Errorf("list recommendations: %w", err)
	}
	if len(found) == 0 {
		return nil, fault.NotFound(req.GetParent())
	}
	rows, next, err := page.Cut(rows, size, func(r *recommendationRow) uuid.UUID { return r.ID }, "ListRecommendations", id)
	if err != nil {
		return nil, err
	}
	resp := &referralv1.ListRecommendationsResponse{NextPageToken: next}
	for _, r := range rows {
		m, err := r.toProto(found[0])
		if err != nil {
			return nil, err
		}
		resp.RecommendationRecords = append(resp.RecommendationRecords, m)
	}
	return resp, nil
}
