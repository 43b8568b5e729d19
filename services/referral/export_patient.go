package referral

import (
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc"

	referralv1 "cairn.care/gen/cairn/referral/v1"
	typev1 "cairn.care/gen/cairn/type/v1"
	"cairn.care/services/chassis/aip"
	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/fault"
)

// ExportPatient implements PatientsService.
func (s *server) ExportPatient(req *referralv1.ExportPatientRequest, stream grpc.ServerStreamingServer[typev1.ArchiveEntry]) error {
	ctx := stream.Context()
	id, err := aip.ParseName("name", "patients", req.GetName())
	if err != nil {
		return err
	}
	var own []*patientRow
	b := s.db.Batch(ctx)
	b.Queue(selectPatient, pgx.NamedArgs{"id": id, "org": auth.TenantFrom(ctx).Org}).Query(collect(&own))
	if err := s.db.Send(ctx, b); err != nil {
		return fmt.Errorf("find patient: %w", err)
	}
	if len(own) == 0 {
		return fault.NotFound(req.GetName())
	}
	return s.export(ctx, held{patients: []uuid.UUID{id}}, []string{req.GetName()}, stream.Send)
}
