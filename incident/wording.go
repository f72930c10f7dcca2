package incident

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// number writes a number as a person does: 17,000; 2.5; 0.04.
func number(v float64) string {
	switch abs := math.Abs(v); {
	case abs >= 1e15:
		return strconv.FormatFloat(v, 'g', 3, 64)
	case abs >= 100 || v == math.Trunc(v):
		return grouped(strconv.FormatFloat(math.Round(v), 'f', 0, 64))
	case abs >= 1:
		return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

// grouped puts a comma before every third digit from the end.
func grouped(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return sign + digits
}

// quantity writes a number with its unit: 1 host, 254 hosts, 4.1 GB.
func quantity(v float64, unit string) string {
	switch {
	case unit == "bytes":
		return bytesText(v)
	case unit == "share":
		return share(v)
	case unit == "times":
		return times(uint64(max(v, 0)))
	case v == 1 && strings.HasSuffix(unit, "s") && !strings.HasSuffix(unit, "/s"):
		return "1 " + strings.TrimSuffix(unit, "s")
	}
	return number(v) + " " + unit
}

func counted(n float64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return number(n) + " " + what + "s"
}

func bytesText(v float64) string {
	for _, unit := range []string{"B", "kB", "MB", "GB", "TB"} {
		if math.Abs(v) < 1000 || unit == "TB" {
			if v < 10 && unit != "B" {
				return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") + " " + unit
			}
			return number(math.Round(v)) + " " + unit
		}
		v /= 1000
	}
	return ""
}

func share(v float64) string {
	p := v * 100
	if p >= 10 || p == math.Trunc(p) {
		return number(math.Round(p)) + " %"
	}
	return strconv.FormatFloat(p, 'g', 2, 64) + " %"
}

func times(n uint64) string {
	switch n {
	case 0, 1:
		return "once"
	case 2:
		return "twice"
	}
	return number(float64(n)) + " times"
}

// atLeast writes a count that stops at most.
func atLeast(n, most int) string {
	if n >= most {
		return number(float64(most)) + " or more"
	}
	return number(float64(n))
}

// spanText writes a time as a person says it: 0.5 s, 12 s, 9 min, 19 hours, 3 days.
func spanText(d time.Duration) string {
	switch s := d.Seconds(); {
	case s < 0.095:
		return number(math.Round(s*1000)) + " ms"
	case s < 9.95:
		return strings.TrimSuffix(strconv.FormatFloat(s, 'f', 1, 64), ".0") + " s"
	case s < 119.5:
		return number(math.Round(s)) + " s"
	case d < 119*time.Minute+30*time.Second:
		return number(math.Round(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return number(math.Round(d.Hours())) + " hours"
	}
	return number(math.Round(d.Hours()/24)) + " days"
}

// services are the names of ports that people know.
var services = map[uint16]string{
	20: "ftp-data", 21: "ftp", 22: "ssh", 23: "telnet", 25: "smtp", 53: "dns", 67: "dhcp", 69: "tftp", 80: "http", 88: "kerberos", 110: "pop3", 111: "rpcbind",
	123: "ntp", 135: "msrpc", 137: "netbios-ns", 138: "netbios-dgm", 139: "netbios", 143: "imap", 161: "snmp", 179: "bgp", 389: "ldap", 443: "https", 445: "smb", 465: "smtps",
	500: "ike", 514: "syslog", 548: "afp", 554: "rtsp", 587: "submission", 631: "ipp", 636: "ldaps", 853: "dns over tls", 873: "rsync", 993: "imaps", 995: "pop3s", 1080: "socks",
	1433: "mssql", 1521: "oracle", 1723: "pptp", 1883: "mqtt", 1900: "ssdp", 2049: "nfs", 2222: "ssh", 2323: "telnet", 2375: "docker", 3128: "proxy", 3306: "mysql", 3389: "rdp",
	5000: "upnp", 5060: "sip", 5353: "mdns", 5432: "postgresql", 5555: "adb", 5601: "kibana", 5672: "amqp", 5900: "vnc", 5985: "winrm", 5986: "winrm", 6379: "redis", 6443: "kubernetes",
	8000: "http", 8080: "http", 8081: "http", 8443: "https", 8888: "http", 9090: "prometheus", 9200: "elasticsearch", 11211: "memcached", 27017: "mongodb",
}

func serviceName(port uint16) string { return services[port] }

// portName writes a port with its service: 445 (smb).
func portName(port uint16) string {
	if s := services[port]; s != "" {
		return fmt.Sprintf("%d (%s)", port, s)
	}
	return strconv.Itoa(int(port))
}

func portText(text string) string {
	if n, err := strconv.ParseUint(text, 10, 16); err == nil {
		return portName(uint16(n))
	}
	return text
}

// portList writes some ports in their order.
func portList(ports []uint16) string {
	sorted := slices.Sorted(slices.Values(ports))
	const most = 8
	var b strings.Builder
	for i, p := range sorted[:min(len(sorted), most)] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(int(p)))
	}
	if len(sorted) > most {
		b.WriteString(", ...")
	}
	return b.String()
}
