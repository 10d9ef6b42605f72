// pgjdbc through the gateway: a JSON line for each outcome; see probe.py for what is said when.

import java.io.StringReader;
import java.io.StringWriter;
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PSQLException;

public class Probe {
    interface Work { Object run() throws Exception; }

    interface Expiring { void run(CountDownLatch begun) throws Exception; }

    static String env(String name) { return System.getenv("PROBE_" + name); }

    static Connection connect(String... more) throws SQLException {
        Properties wish = new Properties();
        wish.setProperty("user", env("USER"));
        wish.setProperty("password", env("PASSWORD"));
        wish.setProperty("sslmode", "verify-full");
        wish.setProperty("sslrootcert", env("CA"));
        for (int i = 0; i < more.length; i += 2) wish.setProperty(more[i], more[i + 1]);
        return DriverManager.getConnection(
            "jdbc:postgresql://" + env("HOST") + ":" + env("PORT") + "/" + env("DATABASE"), wish);
    }

    static synchronized void say(String scenario, String sqlstate, String text) {
        StringBuilder out = new StringBuilder();
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') out.append('\\').append(c);
            else if (c < 32) out.append(String.format("\\u%04x", (int) c));
            else out.append(c);
        }
        System.out.println("{\"scenario\": \"" + scenario + "\", \"sqlstate\": \"" + sqlstate + "\", \"text\": \"" + out + "\"}");
    }

    static void report(String scenario, Work work) {
        try {
            say(scenario, "ok", String.valueOf(work.run()));
        } catch (SQLException error) {
            say(scenario, String.valueOf(error.getSQLState()), String.valueOf(error.getMessage()));
        } catch (Exception error) {
            say(scenario, "", error.toString());
        }
    }

    static String one(Connection db, String sql) throws SQLException {
        try (Statement statement = db.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getString(1);
        }
    }

    static String who(String... more) throws SQLException {
        try (Connection db = connect(more)) { return one(db, "SELECT session_user"); }
    }

    /** What DBeaver sets, and the first things that it asks. */
    static String asDBeaver() throws SQLException {
        try (Connection db = connect("ApplicationName", "DBeaver 24.3.0 - Main", "loginTimeout", "20", "connectTimeout", "20",
                "escapeSyntaxCallMode", "callIfNoReturn", "prepareThreshold", "0", "tcpKeepAlive", "true")) {
            db.setAutoCommit(true);
            one(db, "SELECT version()");
            one(db, "SHOW search_path");
            db.createStatement().execute("SET search_path = public,\"$user\"");
            int tables = 0;
            try (ResultSet rows = db.getMetaData().getTables(null, "public", "%", new String[] {"TABLE"})) {
                while (rows.next()) tables++;
            }
            db.setReadOnly(true);
            db.setReadOnly(false);
            return one(db, "SHOW application_name") + " " + tables + " " + db.isValid(5);
        }
    }

    static Object prepared() throws SQLException {
        try (Connection db = connect(); PreparedStatement add = db.prepareStatement("SELECT ?::int + 1")) {
            int sum = 0;
            for (int n = 0; n < 12; n++) {
                add.setInt(1, n);
                try (ResultSet rows = add.executeQuery()) { rows.next(); sum += rows.getInt(1); }
            }
            return sum;
        }
    }

    static Object batch() throws SQLException {
        try (Connection db = connect("reWriteBatchedInserts", "true")) {
            db.setAutoCommit(false);
            try (PreparedStatement insert = db.prepareStatement("INSERT INTO orders (what) VALUES (?)")) {
                for (int n = 0; n < 500; n++) { insert.setString(1, "by jdbc " + n); insert.addBatch(); }
                insert.executeBatch();
            }
            String count = one(db, "SELECT count(*) FROM orders WHERE what LIKE 'by jdbc%'");
            db.rollback();
            return count;
        }
    }

    static Object copy() throws Exception {
        try (Connection db = connect()) {
            db.setAutoCommit(false);
            CopyManager manager = db.unwrap(PGConnection.class).getCopyAPI();
            long in = manager.copyIn("COPY orders (what) FROM STDIN", new StringReader("a\nb\nc\n".repeat(1000)));
            long out = manager.copyOut("COPY (SELECT 1 FROM generate_series(1, 5000)) TO STDOUT", new StringWriter());
            db.rollback();
            return in + " " + out;
        }
    }

    static Object large() throws SQLException {
        try (Connection db = connect()) {
            db.setAutoCommit(false);
            int rows = 0;
            try (Statement statement = db.createStatement()) {
                statement.setFetchSize(100);
                try (ResultSet found = statement.executeQuery("SELECT repeat('z', 5000) FROM generate_series(1, 2000)")) {
                    while (found.next()) rows++;
                }
            }
            return rows;
        }
    }

    static Object notified() throws SQLException {
        try (Connection db = connect(); Statement statement = db.createStatement()) {
            statement.execute("LISTEN news");
            statement.execute("NOTIFY news, 'hello'");
            statement.execute("DO $$ BEGIN RAISE WARNING 'as it was'; END $$");
            return db.unwrap(PGConnection.class).getNotifications()[0].getParameter() + " " + statement.getWarnings().getMessage();
        }
    }

    static Object cancelled() throws Exception {
        try (Connection db = connect(); Statement statement = db.createStatement()) {
            ScheduledExecutorService later = Executors.newSingleThreadScheduledExecutor();
            later.schedule(() -> { statement.cancel(); return null; }, 300, TimeUnit.MILLISECONDS);
            try {
                return statement.execute("SELECT pg_sleep(9)");
            } finally {
                later.shutdown();
                one(db, "SELECT 1");
            }
        }
    }

    static void askUntilItFails(Connection db, CountDownLatch begun) throws Exception {
        begun.countDown();
        while (true) { Thread.sleep(300); one(db, "SELECT 1"); }
    }

    static void idle(CountDownLatch begun) throws Exception {
        try (Connection db = connect()) { askUntilItFails(db, begun); }
    }

    static void inTransaction(CountDownLatch begun) throws Exception {
        try (Connection db = connect()) {
            db.setAutoCommit(false);
            db.createStatement().execute("INSERT INTO orders (what) VALUES ('never')");
            askUntilItFails(db, begun);
        }
    }

    static void inLongQuery(CountDownLatch begun) throws Exception {
        try (Connection db = connect(); Statement statement = db.createStatement()) {
            begun.countDown();
            statement.execute("INSERT INTO orders (what) SELECT 'never' FROM pg_sleep(6)");
        }
    }

    static void pipelined(CountDownLatch begun) throws Exception {
        try (Connection db = connect(); Statement statement = db.createStatement()) {
            for (int n = 0; n < 3; n++) statement.addBatch("INSERT INTO orders (what) VALUES ('never')");
            statement.addBatch("INSERT INTO orders (what) SELECT 'never' FROM pg_sleep(6)");
            begun.countDown();
            statement.executeBatch();
        } catch (BatchUpdateException error) {
            throw error.getNextException() != null ? error.getNextException() : error;
        }
    }

    static void inCopy(CountDownLatch begun) throws Exception {
        try (Connection db = connect()) {
            var copy = db.unwrap(PGConnection.class).getCopyAPI().copyIn("COPY orders (what) FROM STDIN");
            begun.countDown();
            byte[] row = ("never" + "x".repeat(9000) + "\n").getBytes();
            while (true) { copy.writeToCopy(row, 0, row.length); copy.flushCopy(); Thread.sleep(20); }
        }
    }

    static void listening(CountDownLatch begun) throws Exception {
        try (Connection db = connect(); Statement statement = db.createStatement()) {
            statement.execute("LISTEN news");
            begun.countDown();
            while (true) db.unwrap(PGConnection.class).getNotifications(5000);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, Work> before = new LinkedHashMap<>();
        before.put("connect", () -> who());
        before.put("gss_refused", () -> who("gssEncMode", "prefer"));
        before.put("simple_protocol", () -> who("preferQueryMode", "simple"));
        before.put("dbeaver", () -> asDBeaver());
        before.put("prepared", () -> prepared());
        before.put("batch", () -> batch());
        before.put("copy", () -> copy());
        before.put("large", () -> large());
        before.put("notify", () -> notified());
        before.put("cancel", () -> cancelled());
        before.put("channel_binding_required", () -> who("channelBinding", "require"));
        before.forEach(Probe::report);
        Map<String, Expiring> expiring = new LinkedHashMap<>();
        expiring.put("idle", Probe::idle);
        expiring.put("in_transaction", Probe::inTransaction);
        expiring.put("in_long_query", Probe::inLongQuery);
        expiring.put("pipelined", Probe::pipelined);
        expiring.put("in_copy", Probe::inCopy);
        expiring.put("listening", Probe::listening);
        CountDownLatch begun = new CountDownLatch(expiring.size());
        List<Thread> threads = new ArrayList<>();
        expiring.forEach((name, work) -> threads.add(new Thread(() -> report(name, () -> { work.run(begun); return "went on"; }))));
        threads.forEach(Thread::start);
        begun.await(20, TimeUnit.SECONDS);
        Thread.sleep(400);
        System.out.println("ready");
        for (Thread thread : threads) thread.join(30000);
        report("denied", () -> who());
        System.exit(0);
    }
}
