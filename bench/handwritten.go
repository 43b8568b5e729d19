package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	partnersv1 "cairn.care/gen/cairn/partners/v1"
	"cairn.care/services/chassis"
	"cairn.care/services/chassis/auth"
)

// handwritten answers GET /bench/groups/{id} as GET /v1/groups/{id} is answered, byte for byte in
// meaning, by net/http and encoding/json alone: the same verifier of tokens, the same rules of who
// sees what, the same batch and statement on the same pool, the same ETag and caching headers. It
// does without what a single handler can do without: routing by contract, generated code, traces,
// metrics, deadlines and a second service's policy.
func (y *yardsticks) handwritten(h *chassis.Host) http.Handler {
	tokens := auth.NewVerifier([]auth.Issuer{{
		URL: h.Config.PublicURL, Audience: h.Config.PublicURL,
		Keys: auth.PartnersKeys(partnersv1.NewTokenServiceClient(h.Peer("partners")), h.Clock),
	}}, h.Clock)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		requestID := r.Header.Get("X-Request-Id")
		if requestID == "" {
			requestID = uuid.NewString()
		}
		w.Header().Set("X-Request-Id", requestID)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		tenant := auth.Tenant{}
		authorization := r.Header.Get("Authorization")
		if authorization != "" {
			token, ok := strings.CutPrefix(authorization, "Bearer ")
			if !ok {
				http.Error(w, "bad authorization", http.StatusUnauthorized)
				return
			}
			p, err := tokens.Verify(ctx, token)
			if err != nil {
				http.Error(w, "bad token", http.StatusUnauthorized)
				return
			}
			if p.HasScope("groups.read") || p.HasScope("groups.write") || slices.Contains(p.Roles, "COORDINATOR") {
				tenant = auth.Tenant{Org: p.OrganizationID(), All: p.Platform}
			}
		}
		id, err := uuid.Parse(r.PathValue("id"))
		if err != nil || len(r.URL.RawQuery) > 0 {
			http.Error(w, "bad name", http.StatusBadRequest)
			return
		}
		db := y.dbs["groups"]
		var row groupRow
		b := db.Batch(auth.WithTenant(ctx, tenant))
		b.Queue(selectGroup, id, tenant.Org, tenant.All).QueryRow(row.scan)
		if err := db.Send(ctx, b); errors.Is(err, pgx.ErrNoRows) {
			http.Error(w, "not found", http.StatusNotFound)
			return
		} else if err != nil {
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		g, err := row.json(h.Clock.Now())
		if err != nil {
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		body, err := json.Marshal(g)
		if err != nil {
			http.Error(w, "internal error", http.StatusInternalServerError)
			return
		}
		sum := uint64(crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))<<32 | uint64(crc32.ChecksumIEEE(body))
		etag := `"` + strings.Trim(g.ETag, `"`) + "-" + strconv.FormatUint(sum, 16) + `"`
		w.Header().Set("ETag", etag)
		if authorization == "" {
			w.Header().Set("Cache-Control", "public, max-age=30")
			w.Header().Set("Vary", "Authorization")
		} else {
			w.Header().Set("Cache-Control", "private, no-cache")
		}
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		if _, err := w.Write(body); err != nil {
			return // the caller has gone
		}
	})
}

// json returns the group as the API shows it.
func (r *groupRow) json(now time.Time) (*groupJSON, error) {
	var g groupsv1.Group
	if err := proto.Unmarshal(r.body, &g); err != nil {
		return nil, fmt.Errorf("decode group: %w", err)
	}
	if r.private != nil {
		if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(r.private, &g); err != nil {
			return nil, fmt.Errorf("decode group: %w", err)
		}
	}
	sessions := make([]string, 0, 10)
	for _, s := range r.nextSessions {
		if s.After(now) && len(sessions) < 10 {
			sessions = append(sessions, s.UTC().Format(time.RFC3339))
		}
	}
	zone := r.timeZone
	if zone == "" {
		zone = g.GetTimeZone()
	}
	state := groupsv1.Group_State(r.state)
	out := &groupJSON{
		Name: "groups/" + r.id.String(), Organization: "organizations/" + r.org.String(), Title: g.GetTitle(), Summary: g.GetSummary(),
		Description: g.GetDescription(), Languages: list(g.GetLanguages()), State: state.String(),
		PauseReason: groupsv1.Group_PauseReason(r.pauseReason).String(), AcceptsIntake: state == groupsv1.Group_PUBLISHED && r.deleted == nil,
		Kind: g.GetKind().String(), Facilitation: g.GetFacilitation().String(), Format: g.GetFormat().String(),
		Accessibility: names(g.GetAccessibility()), CancerTypes: list(g.GetCancerTypes()), Phases: names(g.GetPhases()),
		SideEffects: names(g.GetSideEffects()), Audiences: names(g.GetAudiences()), Demographics: names(g.GetDemographics()),
		DemographicNote: g.GetDemographicNote(), Intake: g.GetIntake().String(), Activities: names(g.GetActivities()),
		Confidentiality: g.GetConfidentiality().String(), Facilitators: []facilitatorJSON{}, TimeZone: g.GetTimeZone(),
		ExternalID: g.GetExternalId(), SourceSystem: g.GetSourceSystem(),
		Availability: availabilityJSON{OpenSeats: r.openSeats, WaitlistLength: r.waitlistLength, NextSessions: sessions, TimeZone: zone},
		CreateTime:   instant(timestamppb.New(r.created)), UpdateTime: instant(timestamppb.New(r.updated)), ETag: `"` + strconv.FormatInt(r.revision, 10) + `"`,
	}
	if r.deleted != nil {
		out.DeleteTime = instant(timestamppb.New(*r.deleted))
	}
	out.parts(&g)
	return out, nil
}
