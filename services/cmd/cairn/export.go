package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func exportCommand() *cobra.Command {
	var format, organization, server, file string
	cmd := &cobra.Command{
		Use:   "export --format hsds|meeting-guide|csv [--organization organizations/…] [-o FILE]",
		Short: "Write the public directory, or one organization's part of it, in a feed format",
		Long: `Writes the public groups in a feed format, as everybody may read them. What the format cannot
say is told by GET /v1/directory:lossReport?format=….`,
		Example: `  cairn export --format hsds -o services.json`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			config, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if server == "" {
				server = "http://" + config.HTTP
			}
			out := cmd.OutOrStdout()
			if file != "" && file != "-" {
				f, err := os.Create(file)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, f.Close()) }()
				out = f
			}
			return export(cmd.Context(), strings.TrimSuffix(server, "/"), format, organization, out)
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "", "hsds, meeting-guide or csv")
	f.StringVar(&organization, "organization", "", "whose groups, organizations/{uuid} (default: everybody's)")
	f.StringVar(&server, "server", "", "URL of the Cairn to read (default: the one at --http)")
	f.StringVarP(&file, "output", "o", "", "file to write (default: standard output)")
	if err := cmd.MarkFlagRequired("format"); err != nil {
		panic(err) // the flag is declared above
	}
	return cmd
}

// export writes the directory.
func export(ctx context.Context, server, format, organization string, out io.Writer) error {
	q := url.Values{}
	if organization != "" {
		q.Set("organization", organization)
	}
	switch format {
	case "meeting-guide":
		return download(ctx, server+"/feeds/meetings.json?"+q.Encode(), func(body io.Reader) error { _, err := io.Copy(out, body); return err })
	case "csv":
		return download(ctx, server+"/feeds/groups.csv?"+q.Encode(), func(body io.Reader) error { _, err := io.Copy(out, body); return err })
	case "hsds":
		if organization != "" {
			q.Set("organization_id", strings.TrimPrefix(organization, "organizations/"))
			q.Del("organization")
		}
		return exportHSDS(ctx, server, q, out)
	}
	return fmt.Errorf("--format %q is not written: there are hsds, meeting-guide and csv", format)
}

// exportHSDS writes the services of all pages as one array.
func exportHSDS(ctx context.Context, server string, q url.Values, out io.Writer) error {
	q.Set("full", "true")
	q.Set("per_page", "100")
	sep := "[\n"
	for page := 1; ; page++ {
		q.Set("page", strconv.Itoa(page))
		var answer struct {
			TotalPages int               `json:"total_pages"`
			Contents   []json.RawMessage `json:"contents"`
		}
		if err := download(ctx, server+"/hsds/v3/services?"+q.Encode(), func(body io.Reader) error { return json.NewDecoder(body).Decode(&answer) }); err != nil {
			return err
		}
		for _, service := range answer.Contents {
			if _, err := fmt.Fprintf(out, "%s%s", sep, service); err != nil {
				return err
			}
			sep = ",\n"
		}
		if page >= answer.TotalPages {
			break
		}
	}
	end := "\n]\n"
	if sep == "[\n" {
		end = "[]\n"
	}
	_, err := io.WriteString(out, end)
	return err
}

// download has the body of an address read.
func download(ctx context.Context, address string, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		return errors.Join(refused(resp.StatusCode, text), err)
	}
	return read(resp.Body)
}
