import java.util.Arrays;
import java.util.Collection;
import java.util.stream.Collectors;

import org.eclipse.leshan.core.observation.CompositeObservation;
import org.eclipse.leshan.core.observation.Observation;
import org.eclipse.leshan.core.observation.SingleObservation;
import org.eclipse.leshan.core.response.ObserveCompositeResponse;
import org.eclipse.leshan.core.response.ObserveResponse;
import org.eclipse.leshan.server.observation.ObservationListener;
import org.eclipse.leshan.server.registration.Registration;
import org.eclipse.leshan.server.registration.RegistrationListener;
import org.eclipse.leshan.server.registration.RegistrationUpdate;

import com.fasterxml.jackson.databind.node.ObjectNode;

/** Prints what clients do of their own accord, in the order in which Leshan tells it. */
final class Events implements RegistrationListener, ObservationListener {

    @Override
    public void registered(Registration registration, Registration previous, Collection<Observation> observations) {
        Json.print("", described("registered", registration));
    }

    @Override
    public void updated(RegistrationUpdate update, Registration updated, Registration previous) {
        Json.print("", described("updated", updated));
    }

    @Override
    public void unregistered(Registration registration, Collection<Observation> observations, boolean expired,
            Registration replacing) {
        if (replacing == null) {
            Json.print("", event(expired ? "expired" : "deregistered", registration));
        }
    }

    @Override
    public void newObservation(Observation observation, Registration registration) {
        // The response to the command says it.
    }

    @Override
    public void cancelled(Observation observation) {
        // Likewise; and where a registration ends, its own event.
    }

    @Override
    public void onResponse(SingleObservation observation, Registration registration, ObserveResponse response) {
        ObjectNode event = event("notification", registration).put("path", observation.getPath().toString());
        event.put("code", Commands.code(response.getCode()));
        if (response.isSuccess()) {
            event.set("value", Values.json(response.getContent()));
        }
        Json.print("", event);
    }

    @Override
    public void onResponse(CompositeObservation observation, Registration registration,
            ObserveCompositeResponse response) {
        // No command makes one.
    }

    @Override
    public void onError(Observation observation, Registration registration, Exception error) {
        Json.print("", event("error", registration).put("error", String.valueOf(error)));
    }

    /** A registration with all that a test may look at. */
    static ObjectNode described(String name, Registration registration) {
        String links = Arrays.stream(registration.getObjectLinks()).map(link -> link.toCoreLinkFormat())
                .collect(Collectors.joining(","));
        return event(name, registration).put("lifetime", registration.getLifeTimeInSec())
                .put("version", registration.getLwM2mVersion().toString()).put("links", links)
                .put("address", registration.getAddress().getHostAddress()).put("port", registration.getPort());
    }

    private static ObjectNode event(String name, Registration registration) {
        return Json.object().put("event", name).put("endpoint", registration.getEndpoint());
    }
}
