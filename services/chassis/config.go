package chassis

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

// Config is everything an operator may set. Each key stands in the YAML file as written
// here, on the command line as --key-with-dashes, and in the environment as
// CAIRN_KEY_IN_CAPITALS; the command line wins over the environment over the file. A key
// that is not here is refused. Secrets are given as files.
type Config struct {
	DataDir string `yaml:"data_dir" help:"directory of the embedded PostgreSQL and NATS, keys and demo clients"`
	HTTP    string `yaml:"http" help:"address of the HTTP listener: REST, health, metrics"`
	GRPC    string `yaml:"grpc" help:"address of the gRPC listener"`

	PublicURL string `yaml:"public_url" help:"URL under which callers reach the HTTP listener; the token issuer's name (default http://HTTP)"`

	PostgresURL          string `yaml:"postgres_url" secret:"url" help:"PostgreSQL of a role that may create databases and roles (default: embedded)"`
	PostgresPasswordFile string `yaml:"postgres_password_file" help:"file with the password of postgres_url"`
	NATSURL              string `yaml:"nats_url" secret:"url" help:"NATS with JetStream (default: embedded)"`
	NATSCredentialsFile  string `yaml:"nats_credentials_file" help:"NATS credentials file (.creds)"`

	TLSCertFile string `yaml:"tls_cert_file" help:"certificate chain (PEM) of both listeners, and of this process towards its peers"`
	TLSKeyFile  string `yaml:"tls_key_file" help:"key of tls_cert_file (PEM)"`
	TLSCAFile   string `yaml:"tls_ca_file" help:"certificate authority of Cairn's own services (PEM): whom peers are, and whom we are to them"`

	Peers map[string]string `yaml:"peers" help:"gRPC addresses of services in other processes, such as groups=10.0.0.5:9090"`

	IdentityKeysFile   string `yaml:"identity_keys_file" help:"keys that sign the caller's identity between services, shared by all of them; one base64 key a line"`
	EncryptionKeysFile string `yaml:"encryption_keys_file" help:"Tink keysets that encrypt personal data"`

	Issuers       []Issuer `yaml:"issuers" help:"OIDC issuers trusted beside the built-in one (file only)"`
	BootstrapFile string   `yaml:"bootstrap_file" help:"YAML of organizations and API clients that must exist"`
	DemoClients   bool     `yaml:"demo_clients" help:"make demo organizations and clients, keys in the data directory; loopback only (default: on in cairn serve and cairn demo)"`

	AllowPrivateOutbound bool `yaml:"allow_private_outbound" help:"let outbound calls (webhooks, FHIR Subscriptions, JWKS and feeds by URL) reach private and loopback addresses, and webhooks also http://localhost"`

	SMTPAddress      string `yaml:"smtp_address" help:"SMTP server that takes e-mail, such as smtp.example.org:587 (default: none, and no e-mail is sent)"`
	SMTPFrom         string `yaml:"smtp_from" help:"sender of e-mail, such as Cairn <cairn@example.org>"`
	SMTPTLS          string `yaml:"smtp_tls" help:"starttls, implicit (from the first byte), or none (loopback only)"`
	SMTPCAFile       string `yaml:"smtp_ca_file" help:"certificate authority of the SMTP server (PEM; default: the system's)"`
	SMTPUser         string `yaml:"smtp_user" help:"user name at the SMTP server; empty: no authentication"`
	SMTPPasswordFile string `yaml:"smtp_password_file" help:"file with the password of smtp_user"`

	CORSOrigins     []string      `yaml:"cors_origins" help:"origins whose browser apps may call the REST API"`
	MaxBodyBytes    int64         `yaml:"max_body_bytes" help:"largest request body, in bytes"`
	RateLimit       int64         `yaml:"rate_limit" help:"requests that a client, or a person, may make in a minute at one process; a client of the platform ten times as many; 0: no limit"`
	RequestTimeout  time.Duration `yaml:"request_timeout" help:"longest time one request may take"`
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout" help:"longest time a stop waits for requests under way"`

	LogLevel     string  `yaml:"log_level" help:"debug, info, warn or error"`
	LogFormat    string  `yaml:"log_format" help:"text or json"`
	OTLPEndpoint string  `yaml:"otlp_endpoint" help:"OpenTelemetry collector (gRPC), such as http://127.0.0.1:4317; empty: none"`
	TraceRatio   float64 `yaml:"trace_ratio" help:"share of requests traced, 0 to 1"`
}

// Issuer is an OIDC issuer that Cairn trusts for people.
type Issuer struct {
	URL               string `yaml:"url"`                // iss, exactly
	Audience          string `yaml:"audience"`           // aud that tokens must carry
	JWKSURL           string `yaml:"jwks_url"`           // empty: by OIDC discovery
	OrganizationClaim string `yaml:"organization_claim"` // claim with "organizations/<uuid>"
	RolesClaim        string `yaml:"roles_claim"`        // claim with the roles, such as ["COORDINATOR"]
	MemberClaim       string `yaml:"member_claim"`       // claim with "members/<uuid>" of a MEMBER; empty: no members
	FacilitatorClaim  string `yaml:"facilitator_claim"`  // claim with "facilitators/<uuid>" of a FACILITATOR; empty: none
}

// DefaultConfig is the configuration when nothing is set.
func DefaultConfig() *Config {
	return &Config{
		DataDir: "data", HTTP: "127.0.0.1:8080", GRPC: "127.0.0.1:9090",
		MaxBodyBytes: 1 << 20, RateLimit: 6000, RequestTimeout: 30 * time.Second, ShutdownTimeout: 15 * time.Second,
		LogLevel: "info", LogFormat: "text", TraceRatio: 0.01, SMTPTLS: "starttls",
	}
}

// environment variables that are ours but no configuration
var otherEnv = []string{"CAIRN_CONFIG", "CAIRN_POSTGRES_BIN"}

// keys are the fields that stand for a key each, with their values.
func (c *Config) keys() iter.Seq2[reflect.StructField, reflect.Value] {
	v := reflect.ValueOf(c).Elem()
	return func(yield func(reflect.StructField, reflect.Value) bool) {
		for i := range v.NumField() {
			if !yield(v.Type().Field(i), v.Field(i)) {
				return
			}
		}
	}
}

func keyOf(f reflect.StructField) string { return f.Tag.Get("yaml") }

func flagName(key string) string { return strings.ReplaceAll(key, "_", "-") }
func envName(key string) string  { return "CAIRN_" + strings.ToUpper(key) }

// AddFlags declares a flag for every key, and --config for the file.
func AddFlags(fs *pflag.FlagSet) {
	fs.String("config", "", "YAML configuration file (also CAIRN_CONFIG)")
	c := DefaultConfig()
	for f, v := range c.keys() {
		key := keyOf(f)
		switch v.Kind() {
		case reflect.Slice:
			if v.Type().Elem().Kind() == reflect.String {
				fs.StringSlice(flagName(key), nil, f.Tag.Get("help"))
			}
		case reflect.Map:
			fs.StringToString(flagName(key), nil, f.Tag.Get("help"))
		case reflect.Bool:
			fs.Bool(flagName(key), v.Bool(), f.Tag.Get("help"))
		default:
			fs.String(flagName(key), fmt.Sprint(v.Interface()), f.Tag.Get("help"))
		}
	}
}

// LoadConfig reads the configuration: base, then the file, the environment (entries as
// os.Environ gives them) and the flags that were set. It refuses unknown keys and bad values.
func LoadConfig(base *Config, fs *pflag.FlagSet, environ []string) (*Config, error) {
	c := *base
	env := map[string]string{}
	for _, e := range environ {
		if k, v, _ := strings.Cut(e, "="); strings.HasPrefix(k, "CAIRN_") && !strings.HasPrefix(k, "CAIRN_TEST_") {
			env[k] = v
		}
	}
	path := env["CAIRN_CONFIG"]
	if f := fs.Lookup("config"); f != nil && f.Changed {
		path = f.Value.String()
	}
	if path != "" {
		if err := c.readFile(path); err != nil {
			return nil, err
		}
	}
	for field, v := range c.keys() {
		key := keyOf(field)
		if s, ok := env[envName(key)]; ok {
			delete(env, envName(key))
			if err := setValue(v, s); err != nil {
				return nil, fmt.Errorf("%s: %w", envName(key), err)
			}
		}
		f := fs.Lookup(flagName(key))
		if f == nil || !f.Changed {
			continue
		}
		s := f.Value.String()
		if v.Kind() == reflect.Slice || v.Kind() == reflect.Map { // pflag writes lists in brackets
			s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
		}
		if err := setValue(v, s); err != nil {
			return nil, fmt.Errorf("--%s: %w", flagName(key), err)
		}
	}
	for k := range env {
		if !slices.Contains(otherEnv, k) {
			return nil, fmt.Errorf("%s is not a configuration key; `--help` lists them", k)
		}
	}
	return &c, c.check()
}

// unknownField is how the YAML package names an unknown key.
var unknownField = regexp.MustCompile(`field (\S+) not found in type \S+`)

func (c *Config) readFile(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("configuration %s: %s", path, unknownField.ReplaceAllString(err.Error(), "$1 is not a configuration key"))
	}
	return nil
}

func setValue(v reflect.Value, s string) error {
	switch v.Interface().(type) {
	case time.Duration:
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return fmt.Errorf("%q is not a positive duration such as 30s", s)
		}
		v.SetInt(int64(d))
		return nil
	case []string:
		v.Set(reflect.ValueOf(splitList(s)))
		return nil
	case map[string]string:
		m := map[string]string{}
		for _, kv := range splitList(s) {
			k, val, ok := strings.Cut(kv, "=")
			if !ok {
				return fmt.Errorf("%q is not name=address", kv)
			}
			m[k] = val
		}
		v.Set(reflect.ValueOf(m))
		return nil
	case []Issuer:
		return errors.New("can be set in the configuration file only")
	}
	var err error
	switch v.Kind() {
	case reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(s)
		v.SetBool(b)
	case reflect.Int64:
		var n int64
		n, err = strconv.ParseInt(s, 10, 64)
		v.SetInt(n)
	case reflect.Float64:
		var f float64
		f, err = strconv.ParseFloat(s, 64)
		v.SetFloat(f)
	default:
		v.SetString(s)
	}
	if err != nil {
		return fmt.Errorf("%q is not a %s", s, v.Kind())
	}
	return nil
}

func splitList(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// check refuses values that cannot work together, and fills in what follows from others.
func (c *Config) check() error {
	var errs []error
	refuse := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	for key, addr := range map[string]string{"http": c.HTTP, "grpc": c.GRPC} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			refuse("%s: %q is not host:port", key, addr)
		}
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			refuse("public_url: %q is not an http(s) URL", c.PublicURL)
		}
		c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		refuse("tls_cert_file and tls_key_file go together")
	}
	if c.TLSCertFile == "" && !Loopback(c.GRPC) {
		refuse("grpc: %s is not a loopback address: set tls_cert_file and tls_key_file", c.GRPC)
	}
	if len(c.Peers) > 0 && c.IdentityKeysFile == "" {
		refuse("identity_keys_file is needed when there are peers in other processes")
	}
	if c.DemoClients && (!Loopback(c.HTTP) || !Loopback(c.GRPC)) {
		refuse("demo clients are on, but http (%s) and grpc (%s) are not both loopback addresses: pass --demo-clients=false", c.HTTP, c.GRPC)
	}
	if c.DemoClients && c.TLSCertFile != "" {
		refuse("demo clients are on, but they speak plaintext: leave tls_cert_file unset, or pass --demo-clients=false")
	}
	if c.DemoClients && c.BootstrapFile != "" {
		refuse("demo clients are on, and they have a bootstrap_file of their own: pass --demo-clients=false")
	}
	for key, d := range map[string]time.Duration{"request_timeout": c.RequestTimeout, "shutdown_timeout": c.ShutdownTimeout} {
		if d <= 0 {
			refuse("%s: %v is not a positive duration such as 30s", key, d)
		}
	}
	if c.MaxBodyBytes <= 0 || c.MaxBodyBytes > 1<<30 {
		refuse("max_body_bytes: %d is not between 1 and 1 GiB", c.MaxBodyBytes)
	}
	if c.RateLimit < 0 || c.RateLimit > 10_000_000 {
		refuse("rate_limit: %d is not between 0 and 10,000,000", c.RateLimit)
	}
	if c.TraceRatio < 0 || c.TraceRatio > 1 {
		refuse("trace_ratio: %v is not between 0 and 1", c.TraceRatio)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		refuse("log_level: %q is not debug, info, warn or error", c.LogLevel)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		refuse("log_format: %q is not text or json", c.LogFormat)
	}
	errs = append(errs, c.checkMail())
	for i, is := range c.Issuers {
		if is.URL == "" || is.Audience == "" || is.OrganizationClaim == "" || is.RolesClaim == "" {
			refuse("issuers[%d]: url, audience, organization_claim and roles_claim are all needed", i)
		}
	}
	return errors.Join(errs...)
}

// checkMail refuses an SMTP server that could not be used, or to which secrets would go in clear.
func (c *Config) checkMail() error {
	var errs []error
	refuse := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if c.SMTPTLS != "starttls" && c.SMTPTLS != "implicit" && c.SMTPTLS != "none" {
		refuse("smtp_tls: %q is not starttls, implicit or none", c.SMTPTLS)
	}
	if (c.SMTPUser == "") != (c.SMTPPasswordFile == "") {
		refuse("smtp_user and smtp_password_file go together")
	}
	if c.SMTPAddress == "" {
		if c.SMTPFrom != "" || c.SMTPUser != "" || c.SMTPCAFile != "" {
			refuse("smtp_address is needed where there are other smtp keys")
		}
		return errors.Join(errs...)
	}
	if _, _, err := net.SplitHostPort(c.SMTPAddress); err != nil {
		refuse("smtp_address: %q is not host:port", c.SMTPAddress)
	} else if c.SMTPTLS == "none" && !Loopback(c.SMTPAddress) {
		refuse("smtp_tls is none, but smtp_address (%s) is not a loopback address", c.SMTPAddress)
	}
	if _, err := mail.ParseAddress(c.SMTPFrom); err != nil {
		refuse("smtp_from: %q is not an address such as Cairn <cairn@example.org>", c.SMTPFrom)
	}
	return errors.Join(errs...)
}

// Loopback tells whether a listen address is reachable from this machine only.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Path returns a path inside the data directory.
func (c *Config) Path(elem ...string) string {
	return filepath.Join(append([]string{c.DataDir}, elem...)...)
}

// LogValue prints the effective values, secrets redacted.
func (c *Config) LogValue() slog.Value {
	var attrs []slog.Attr
	for f, v := range c.keys() {
		key := keyOf(f)
		val := v.Interface()
		if f.Tag.Get("secret") == "url" && v.String() != "" {
			val = redacted(v.String())
		}
		if !v.IsZero() {
			attrs = append(attrs, slog.Any(key, val))
		}
	}
	return slog.GroupValue(attrs...)
}

// urlCredentials are those in a URL, or in each of a list of URLs: user and password, or a token.
var urlCredentials = regexp.MustCompile(`://[^/@]*@`)

// redacted is a URL, or a list of them with commas, without what lets somebody in.
func redacted(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return "[redacted]"
	}
	if u.Query().Has("password") {
		q := u.Query()
		q.Set("password", "xxxxx")
		u.RawQuery = q.Encode()
		s = u.String()
	}
	return urlCredentials.ReplaceAllString(s, "://xxxxx@")
}
