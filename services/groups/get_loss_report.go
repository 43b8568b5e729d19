package groups

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"

	groupsv1 "cairn.care/gen/cairn/groups/v1"
	"cairn.care/services/formats"
	"cairn.care/services/formats/all"
)

// listIndex is the number of a list's item in a path.
var listIndex = regexp.MustCompile(`\[\d+\]`)

// GetLossReport writes a page of the directory in a format and tells what that could not say.
func (s *server) GetLossReport(ctx context.Context, req *groupsv1.GetLossReportRequest) (*groupsv1.LossReport, error) {
	list, heldBack, err := s.listDirectory(ctx, &groupsv1.ListDirectoryRequest{
		PageSize: req.GetPageSize(), PageToken: req.GetPageToken(), Organization: req.GetOrganization(), Extras: groupsv1.ListDirectoryRequest_PUBLISHED,
	})
	if err != nil {
		return nil, err
	}
	report := &groupsv1.LossReport{
		Format: req.GetFormat(), CheckedCount: int32(len(list.GetGroups())), TotalSize: list.GetTotalSize(), NextPageToken: list.GetNextPageToken(),
	}
	totals := map[string]*groupsv1.LossReport_Total{}
	for _, g := range list.GetGroups() {
		losses, err := all.Losses(req.GetFormat(), formats.Listing{Group: g})
		if err != nil {
			return nil, fmt.Errorf("losses of %s in %s: %w", g.GetName(), req.GetFormat(), err)
		}
		losses = append(losses, formats.Unsaid(req.GetFormat(), g.GetExtensions(), heldBack[g.GetName()])...)
		if len(losses) == 0 {
			continue
		}
		of := &groupsv1.LossReport_GroupLoss{Group: g.GetName(), Title: g.GetTitle()}
		counted := map[string]bool{}
		for _, l := range losses {
			of.Losses = append(of.Losses, &groupsv1.LossReport_Loss{Field: l.Field, Reason: l.Reason})
			of.Omitted = of.Omitted || l.Omitted
			field := listIndex.ReplaceAllString(l.Field, "")
			t := totals[field]
			if t == nil {
				t = &groupsv1.LossReport_Total{Field: field}
				totals[field] = t
				report.Totals = append(report.Totals, t)
			}
			if !counted[field] {
				t.GroupCount++
			}
			if l.Omitted {
				t.OmittedCount++
			}
			counted[field] = true
		}
		report.Groups = append(report.Groups, of)
	}
	slices.SortStableFunc(report.Totals, func(a, b *groupsv1.LossReport_Total) int {
		return cmp.Or(cmp.Compare(b.GetGroupCount(), a.GetGroupCount()), cmp.Compare(a.GetField(), b.GetField()))
	})
	return report, nil
}
