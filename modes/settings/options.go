package settings

import (
	"slices"
	"time"
)

// trapPool is written out so that --help and `config show` say what it is.
const trapPool = "21,22,23,25,80,110,111,135,139,143,443,445,554,873,1080,1433,1521,1723,1883,2049," +
	"2222,2323,2375,3306,3389,5000,5060,5432,5555,5900,5985,6379,8000,8080,8081,8443,8888,9200,11211,27017"

// options are all options of vft, bound to the fields of s, in the order in
// which --help prints them.
func (s *Settings) options() []Option {
	return slices.Concat(s.mainOptions(), s.captureOptions(), s.exportOptions(), s.logOptions())
}

// mainOptions are about servers, clients and traps.
func (s *Settings) mainOptions() []Option {
	return []Option{
		{Name: "bind", Default: "127.0.0.1:9999", Value: HostPort(&s.Server.Bind), Modes: ServerMode,
			Usage: "where clients connect, HOST:PORT"},
		{Name: "ssl", Default: "true", Value: Bool(&s.Link.TLS), Modes: ServerMode | ClientMode,
			Usage: "TLS, with an own certificate unless --cert and --key are given; =false is plain text"},
		{Name: "allow-plaintext", Default: "false", Value: Bool(&s.Link.AllowPlaintext), Modes: ServerMode | ClientMode,
			Usage: "let --ssl=false use an address that is not loopback"},
		{Name: "cert", Value: Text(&s.Link.Cert), Modes: ServerMode | ClientMode, Reload: ServerMode,
			Usage: "PEM file: the server's certificate; on a client, the one certificate or CA to trust"},
		{Name: "key", Value: Text(&s.Server.Key), Modes: ServerMode, Reload: ServerMode,
			Usage: "PEM file: the private key of --cert"},
		{Name: "rules", Value: Text(&s.Rules), Modes: ServerMode | StandaloneMode, Reload: ServerMode | StandaloneMode,
			Usage: "YAML file of rules in place of the built-in ones (vft config show --rules)"},
		{Name: "events", Default: "false", Value: Bool(&s.Fleet.Events), Modes: ServerMode,
			Usage: "write each vft.trap and vft.client record to stdout too, not only alerts"},
		{Name: "heartbeat", Default: "10s", Value: Duration(100*time.Millisecond, time.Hour, &s.Fleet.Heartbeat), Modes: ServerMode,
			Usage: "how often a client says that it lives; three missed raise sensor-lost"},
		{Name: "server", Default: "127.0.0.1:9999", Value: HostPort(&s.Client.Server), Modes: ClientMode,
			Usage: "the server to report to, HOST:PORT"},
		{Name: "join", Value: Text(&s.Client.Join), Secret: true, Modes: ClientMode,
			Usage: "the string that the server prints: address, certificate pin and token in one"},
		{Name: "dest", Value: Texts(&s.Output.Destinations), Default: "stdout://", Modes: StandaloneMode,
			Usage: "where records go: HOST:PORT, tcp://, tls://, udp://, file:///PATH or stdout://; repeatable"},
		{Name: "format", Default: "ecs", Value: OneOf([]string{"ecs"}, &s.Output.Format), Modes: StandaloneMode,
			Usage: "form of the records: ecs"},
		{Name: "secret", Value: Text(&s.Link.Secret), Secret: true, Modes: ServerMode | ClientMode,
			Usage: "shared secret of the fleet; other users of the host can read a command line: --secret-file is better"},
		{Name: "secret-file", Value: Text(&s.Link.SecretFile), Modes: ServerMode | ClientMode,
			Usage: "file that holds the shared secret (made in the data directory when there is none)"},
		{Name: "data-dir", Value: Text(&s.DataDir), Modes: All,
			Usage: "certificate, secret, identity and trap ports (default /var/lib/vft as root, else ~/.local/state/vft)"},
		{Name: "traps", Default: "5", Value: Int(0, 1000, &s.Traps.Count), Modes: Hosts,
			Usage: "how many trap ports; 0 for none"},
		{Name: "trap-ports", Value: Ports(&s.Traps.Ports), Modes: Hosts,
			Usage: "exactly these trap ports, separated by commas"},
		{Name: "trap-pool", Default: trapPool, Value: Ports(&s.Traps.Pool), Modes: Hosts,
			Usage: "choose the trap ports from these"},
		{Name: "trap-bind", Value: Addresses(&s.Traps.Bind), Modes: Hosts,
			Usage: "addresses to open traps on (default all, IPv4 and IPv6)"},
		{Name: "trap-hold", Default: "3.1s", Value: Duration(0, 10*time.Second, &s.Traps.Hold), Modes: Hosts,
			Usage: "how long to wait for the first bytes of a connection; 0 closes at once"},
		{Name: "http", Default: "off", Value: OneOf([]string{"off"}, &s.HTTP), Modes: All,
			Usage: "HTTP API; this version has none, so only off"},
	}
}

// logOptions are about what vft says of itself.
func (s *Settings) logOptions() []Option {
	return []Option{
		{Name: "log-level", Aliases: []string{"loglevel"}, Default: "info", Value: OneOf([]string{"debug", "info", "warn", "error"}, &s.Log.Level), Modes: All, Reload: All,
			Usage: "least important messages to log: debug, info, warn, error"},
		{Name: "log-format", Default: "auto", Value: OneOf([]string{"auto", "console", "json"}, &s.Log.Format), Modes: All,
			Usage: "console for people, json for programs, auto: console on a terminal"},
		{Name: "config", Value: Text(&s.Config), Modes: All,
			Usage: "YAML file of these settings: NAME: VALUE"},
	}
}
