package referral

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	"cairn.care/services/chassis/fault"
	"cairn.care/services/chassis/pg"
	"cairn.care/services/referral/match"
)

const weightingPrefix = "weightings/"

// weightingRow is a row of weightings.
type weightingRow struct {
	Version     string
	Description string
	Points      []byte // JSON object
	InUse       bool
	UseTime     *time.Time
	CreateTime  time.Time
}

const weightingColumns = `version, description, points, in_use, use_time, create_time`

func (r *weightingRow) points() (map[string]float64, error) {
	points := map[string]float64{}
	if err := json.Unmarshal(r.Points, &points); err != nil {
		return nil, fmt.Errorf("points of %s: %w", r.Version, err)
	}
	return points, nil
}

func (r *weightingRow) toProto() (*referralv1.Weighting, error) {
	points, err := r.points()
	if err != nil {
		return nil, err
	}
	return &referralv1.Weighting{
		Name: weightingPrefix + r.Version, Description: r.Description, Points: points, InUse: r.InUse,
		UseTime: timestamp(r.UseTime), CreateTime: timestamppb.New(r.CreateTime),
	}, nil
}

// weights returns a version of the weights by the resource's name; the empty name is the one in use.
func (s *server) weights(ctx context.Context, q pg.Querier, field, name string) (match.Weights, error) {
	version := strings.TrimPrefix(name, weightingPrefix)
	row, err := findWeighting(ctx, q, version)
	if errors.Is(err, pgx.ErrNoRows) {
		if field == "name" {
			return match.Weights{}, fault.NotFound(name)
		}
		return match.Weights{}, fault.Invalid(fault.Field(field, "%s does not exist", name))
	}
	if err != nil {
		return match.Weights{}, err
	}
	points, err := row.points()
	return match.Weights{Version: row.Version, Points: points}, err
}

// findWeighting returns a version, the one in use if version is empty; pgx.ErrNoRows if there is none.
func findWeighting(ctx context.Context, q pg.Querier, version string) (*weightingRow, error) {
	sql := `SELECT ` + weightingColumns + ` FROM weightings WHERE version = @version`
	if version == "" {
		sql = `SELECT ` + weightingColumns + ` FROM weightings WHERE in_use`
	}
	rows, err := q.Query(ctx, sql, pgx.NamedArgs{"version": version})
	if err != nil {
		return nil, fmt.Errorf("find weights: %w", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[weightingRow])
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("find weights: %w", err)
	}
	return row, err
}
